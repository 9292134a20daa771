//! A thousand races of each kind.

use std::time::Duration;

use crate::sessions::{LOOSE, row};
use crate::support::{Answer, Client, Gateway, Upstream, request, routes};

#[test]
fn in_a_thousand_races_sixteen_refreshes_are_one_rotation_with_one_successor() {
    let gateway = Gateway::start(LOOSE);
    let login = gateway.login_by_cookie("alice");
    let session = login.member("session_id");
    let mut cookies = login.cookie_header();
    let mut lanes: Vec<Client> = (0..16).map(|_| gateway.connect()).collect();
    for round in 1..=1000 {
        gateway.advance(Duration::from_secs(60));
        let answers = all(race(&mut lanes, &[refresh(&gateway, &cookies)]));
        let mut successors: Vec<_> = answers.iter().map(|answer| answer.cookie("pc_rt")).collect();
        successors.sort();
        successors.dedup();
        assert_eq!(successors.len(), 1, "round {round}");
        assert_ne!(successors[0], None, "round {round}");
        assert_eq!(row(&gateway, &session, "gen"), Some(round.to_string()));
        cookies = answers[round % 16].cookie_header();
    }
    println!("1,000 races of 16 refreshes: 1,000 rotations, one successor each");
}

#[test]
fn in_a_thousand_races_of_refreshes_with_a_logout_nothing_survives() {
    let upstream = Upstream::hello();
    let gateway = Gateway::start(&format!("{LOOSE}{}", routes(&upstream.url())));
    let mut lanes: Vec<Client> = (0..8).map(|_| gateway.connect()).collect();
    let (mut before, mut tried) = (0, 0);
    for round in 0..1000 {
        let login = gateway.login_by_cookie("alice");
        gateway.advance(Duration::from_secs(60));
        let cookies = login.cookie_header();
        let refresh = refresh(&gateway, &cookies);
        let renewal = ask(&gateway, "GET /x", login.cookie("pc_rt").as_deref(), &login);
        let mut asks = vec![refresh.as_str(), &renewal, &refresh, &renewal];
        asks.extend([&*refresh, &renewal, &refresh]);
        let logout =
            request("POST /auth/logout", &[("Host", &gateway.host()), ("Cookie", &cookies)], "");
        asks.insert(round % 8, &logout);
        let answers = race(&mut lanes, &asks);
        for ((answer, lane), ask) in answers.iter().zip(&mut lanes).zip(&asks) {
            if answer.is_none() {
                // Its session ended while it was under way: it is cut, with its connection.
                assert!(ask.starts_with("GET /x"), "{ask}");
                *lane = gateway.connect();
            }
        }
        let answers: Vec<Answer> = answers.into_iter().flatten().collect();
        before += answers
            .iter()
            .filter(|answer| answer.cookie("pc_rt").is_some_and(|rt| !rt.is_empty()))
            .count();
        for answer in answers.iter().chain([&login]) {
            let Some(token) = answer.cookie("pc_rt").filter(|token| !token.is_empty()) else {
                assert!(matches!(answer.status, 200 | 401), "{}", answer.text());
                continue;
            };
            tried += 1;
            let survivor = answer.cookie_header();
            gateway.get("/x", &[("Cookie", &survivor)]).expect(401);
            let alone = ask(&gateway, "GET /x", Some(&token), &login);
            gateway.connect().ask(alone).expect(401);
            gateway.refresh_by_cookie(&survivor).expect(401);
        }
    }
    println!(
        "1,000 races of a logout: {before} refreshes went before it, {tried} pairs tried, none lived"
    );
    assert!(before > 0, "some went before the logout");
}

fn all(answers: Vec<Option<Answer>>) -> Vec<Answer> {
    answers.into_iter().map(|answer| answer.expect("an answer")).collect()
}

/// Sends all at once, each over its own connection, and reads what comes back.
fn race<T: AsRef<str>>(lanes: &mut [Client], asks: &[T]) -> Vec<Option<Answer>> {
    for (lane, ask) in lanes.iter_mut().zip(asks.iter().cycle()) {
        lane.send(ask.as_ref());
    }
    lanes.iter_mut().map(Client::answer).collect()
}

fn refresh(gateway: &Gateway, cookies: &str) -> String {
    request("POST /auth/refresh", &[("Host", &gateway.host()), ("Cookie", cookies)], "")
}

/// A request with a refresh cookie alone, named as in the login.
fn ask(gateway: &Gateway, line: &str, token: Option<&str>, login: &Answer) -> String {
    let name =
        login.cookies().into_iter().find(|(name, _)| name.contains("pc_rt")).expect("a pc_rt").0;
    let cookie = format!("{name}={}", token.unwrap_or_default());
    request(line, &[("Host", &gateway.host()), ("Cookie", &cookie)], "")
}
