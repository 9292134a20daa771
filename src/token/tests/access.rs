use super::*;

#[test]
fn a_minted_token_verifies_as_what_it_was_minted_from() {
    for algorithm in ALL {
        let ring = KeyRing::ephemeral(algorithm).unwrap();
        let (token, expires) = ring.mint(&claims(&alice()), &rules(), NOW).unwrap();
        let expected = Verified {
            identity: alice(),
            version: 7,
            issued: NOW,
            expires,
            auth_time: Timestamp::from_secs(1_799_990_000),
        };
        assert_eq!(ring.verify(&token, &rules(), NOW), Ok(expected), "{algorithm:?}");
    }
}

#[test]
fn a_token_says_what_the_article_and_rfc_9068_ask_for() {
    let ring = KeyRing::ephemeral(Algorithm::EdDsa).unwrap();
    let (token, expires) = ring.mint(&claims(&alice()), &rules(), NOW).unwrap();
    let (header, content) = parts(&token);
    let kid = header["kid"].as_str().unwrap();
    assert_eq!(header, serde_json::json!({ "alg": "EdDSA", "kid": kid, "typ": "at+jwt" }));
    assert_eq!(kid.len(), 16);
    let jti = content["jti"].as_str().unwrap();
    let expected = serde_json::json!({
        "iss": "https://app.example.com",
        "sub": "01010101-0101-0101-0101-010101010101",
        "aud": "portcullis",
        "client_id": "api",
        "iat": 1_800_000_000,
        "exp": expires.as_secs(),
        "jti": jti,
        "sid": "02020202-0202-0202-0202-020202020202",
        "sv": 7,
        "type": "access",
        "role": "user",
        "roles": ["user", "team:ops"],
        "preferred_username": "alice",
        "auth_time": 1_799_990_000,
        "amr": ["pwd"],
    });
    assert_eq!(content, expected);
}

#[test]
fn lives_are_drawn_between_four_fifths_and_the_whole() {
    let ring = KeyRing::ephemeral(Algorithm::Hs256).unwrap();
    let lives: Vec<i64> = (0..200)
        .map(|_| ring.mint(&claims(&alice()), &rules(), NOW).unwrap().1.as_secs() - NOW.as_secs())
        .collect();
    assert!(lives.iter().all(|life| (240..=300).contains(life)), "{lives:?}");
    let distinct: std::collections::HashSet<_> = lives.iter().collect();
    assert!(distinct.len() > 20, "{lives:?}");
}

#[test]
fn no_token_outlives_its_session_or_an_hour() {
    let ring = KeyRing::ephemeral(Algorithm::Hs256).unwrap();
    let who = alice();
    let mut near = claims(&who);
    near.session_end = NOW.plus(Duration::from_millis(30_900));
    let (token, expires) = ring.mint(&near, &rules(), NOW).unwrap();
    assert_eq!(expires, NOW.plus(Duration::from_secs(30)));
    assert_eq!(ring.verify(&token, &rules(), NOW).unwrap().expires, expires);

    near.session_end = NOW.minus(Duration::from_secs(30));
    let (token, expires) = ring.mint(&near, &rules(), NOW).unwrap();
    assert_eq!(expires, NOW);
    let later = NOW.plus(Duration::from_secs(5));
    assert!(matches!(ring.verify(&token, &rules(), later), Err(BadToken::Expired(_))));

    let long = AccessRules { ttl: Duration::from_secs(86_400), jitter: 0.0, ..rules() };
    let (token, expires) = ring.mint(&claims(&who), &long, NOW).unwrap();
    assert_eq!(expires, NOW.plus(Duration::from_secs(3600)));
    assert!(ring.verify(&token, &long, NOW).is_ok());
}

#[test]
fn a_token_counts_until_its_leeway_has_passed_and_is_then_expired_not_invalid() {
    let ring = KeyRing::ephemeral(Algorithm::Es256).unwrap();
    let (token, expires) = ring.mint(&claims(&alice()), &rules(), NOW).unwrap();
    let after = |millis| ring.verify(&token, &rules(), expires.plus(Duration::from_millis(millis)));
    assert!(after(0).is_ok());
    assert!(after(4_000).is_ok());
    assert!(after(4_999).is_ok());
    for millis in [5_000, 6_000, 10_000_000_000] {
        match after(millis) {
            Err(BadToken::Expired(verified)) => assert_eq!(verified.identity, alice()),
            other => panic!("{millis} ms after: {other:?}"),
        }
    }
}

#[test]
fn a_token_from_the_future_does_not_count_beyond_a_minute() {
    let ring = KeyRing::ephemeral(Algorithm::Es256).unwrap();
    let token = mint(&ring);
    let verified = ring.verify(&token, &rules(), NOW.minus(Duration::from_secs(60))).unwrap();
    let early = NOW.minus(Duration::from_secs(61));
    let ahead = Err(BadToken::Ahead(Box::new(verified)));
    assert_eq!(ring.verify(&token, &rules(), early), ahead);
}

#[test]
fn a_username_as_subject_keeps_the_users_id() {
    let ring = KeyRing::ephemeral(Algorithm::EdDsa).unwrap();
    let named = AccessRules { sub_is_username: true, ..rules() };
    let (token, _) = ring.mint(&claims(&alice()), &named, NOW).unwrap();
    let (_, content) = parts(&token);
    assert_eq!(content["sub"], "alice");
    assert_eq!(content["uid"], alice().user.to_string());
    assert_eq!(ring.verify(&token, &named, NOW).unwrap().identity, alice());
    assert_eq!(ring.verify(&token, &rules(), NOW), Err(BadToken::Invalid));
    assert_eq!(ring.verify(&mint(&ring), &named, NOW), Err(BadToken::Invalid));
}

#[test]
fn a_user_without_roles_has_a_token_without_a_role() {
    let ring = KeyRing::ephemeral(Algorithm::EdDsa).unwrap();
    let who = Identity { roles: [].into(), ..alice() };
    let (token, _) = ring.mint(&claims(&who), &rules(), NOW).unwrap();
    let (_, content) = parts(&token);
    assert_eq!((content.get("role"), &content["roles"]), (None, &serde_json::json!([])));
    assert_eq!(ring.verify(&token, &rules(), NOW).unwrap().identity, who);
}

#[test]
fn a_token_too_long_for_a_cookie_is_not_minted() {
    let ring = KeyRing::ephemeral(Algorithm::EdDsa).unwrap();
    let roles = (0..100).map(|n| Role::new(&format!("{n:032}")).unwrap()).collect();
    let who = Identity { roles, ..alice() };
    let minted = ring.mint(&claims(&who), &rules(), NOW);
    assert!(matches!(minted, Err(KeyError::TooLong { .. })), "{minted:?}");
}

#[test]
fn a_bearer_value_is_ours_by_its_prefix_its_kid_or_its_issuer() {
    let ring = KeyRing::ephemeral(Algorithm::EdDsa).unwrap();
    let other = KeyRing::ephemeral(Algorithm::EdDsa).unwrap();
    let foreign = AccessRules { issuer: "https://elsewhere.example".to_owned(), ..rules() };
    let by_kid = ring.mint(&claims(&alice()), &foreign, NOW).unwrap().0;
    let by_issuer = mint(&other);
    let neither = other.mint(&claims(&alice()), &foreign, NOW).unwrap().0;
    let broken = format!("{}x", mint(&ring));
    for ours in ["pcr_", "pca_x", &by_kid, &by_issuer, &broken] {
        assert!(ring.claims_ours(ours, &rules()), "{ours}");
    }
    for foreign in ["", ".", "..", "a.b.c", "pcr", "opaque", "e30.e30.e30", &neither] {
        assert!(!ring.claims_ours(foreign, &rules()), "{foreign}");
    }
}

#[test]
fn a_bearer_value_is_ours_in_every_spelling_that_a_lenient_reader_takes() {
    let ring = KeyRing::ephemeral(Algorithm::EdDsa).unwrap();
    let other = KeyRing::ephemeral(Algorithm::EdDsa).unwrap();
    let foreign = AccessRules { issuer: "https://elsewhere.example".to_owned(), ..rules() };
    let by_kid = ring.mint(&claims(&alice()), &foreign, NOW).unwrap().0;
    let by_issuer = mint(&other);
    let refresh = "pcr_AQEC".to_owned();
    for ours in [by_kid, by_issuer, refresh] {
        for spelling in [
            ours.replace('.', "=."),
            ours.replace('.', "==.") + "=",
            ours.replace('.', " . "),
            ours.replace('.', ".."),
            format!(".{ours}"),
            format!(" ..{ours}."),
            format!("\"{ours}\""),
            format!("token={ours}"),
            ours.replace('-', "+").replace('_', "/").replace("pcr/", "pcr_"),
        ] {
            assert!(ring.claims_ours(&spelling, &rules()), "{spelling}");
        }
    }
    let neither = other.mint(&claims(&alice()), &foreign, NOW).unwrap().0;
    for foreign in [neither.replace('.', "=."), format!(".{neither}"), "xpcr_AQEC".to_owned()] {
        assert!(!ring.claims_ours(&foreign, &rules()), "{foreign}");
    }
}
