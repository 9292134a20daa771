//! `allow` of a route: what is refused or removed everywhere else.

use crate::support::{Gateway, Upstream};

#[test]
fn bytes_that_are_not_utf8_pass_only_where_they_are_let() {
    let upstream = Upstream::hello();
    let gateway = Gateway::start(&format!(
        "[[routes]]\npath = \"/*\"\naccess = \"public\"\nupstream = \"{url}\"\n\
         [[routes]]\npath = \"/old/*\"\naccess = \"public\"\nallow = [\"non_utf8\"]\n\
         upstream = \"{url}\"\n",
        url = upstream.url()
    ));
    for path in ["/x/%FF", "/x/caf%E9", "/x/%25FF", "/old%2Fcaf%E9"] {
        assert_eq!(gateway.get(path, &[]).status, 400, "{path}");
    }
    assert_eq!(upstream.seen().len(), 0);
    for path in ["/old/%FF", "/old/caf%E9", "/old/%25FF"] {
        gateway.get(path, &[]).expect(200);
        assert_eq!(upstream.last().line(), format!("GET {path}"));
    }
}
