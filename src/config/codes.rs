//! The codes of problems. A code is for ever: once given, it keeps its meaning.

/// What `portcullis explain E011` tells.
#[derive(Debug)]
pub(super) struct Code {
    pub(super) id: &'static str,
    says: &'static str,
}

/// The longer explanation of a code such as `E011`, with an example; none: there is no such code.
pub fn explain_code(code: &str) -> Option<&'static str> {
    ALL.iter().find(|known| known.id.eq_ignore_ascii_case(code)).map(|known| known.says)
}

macro_rules! codes {
    ($($name:ident $id:literal $says:literal)*) => {
        $(pub(super) const $name: Code = Code { id: $id, says: $says };)*
        /// Every code there is.
        pub(super) const ALL: &[&Code] = &[$(&$name),*];
    };
}

codes! {
UNREADABLE "E001"
"The configuration file itself could not be read: it is not there, this user may not read it, or it
is not UTF-8 or larger than 16 MiB. Nothing is known about what it says.

    portcullis check -c /etc/portcullis/gateway.toml"

SYNTAX "E002"
"The text is not TOML (https://toml.io), so what stands there means nothing. Every such place is told
in one run. While there are any, only what can be judged line by line is told besides; more may come
to light once the text can be read.

    listen = \"127.0.0.1:8080     # the closing quote is missing"

NAMED_FILE "E003"
"A file that the configuration names (a secret, an included file, a list of passwords) could not be
read, is no regular file (a pipe would keep a reload waiting), or is larger than any such file. Relative names begin at the folder of the main configuration file.

    password_file = \"/run/secrets/admin_password\"     # must exist, and be readable for the gateway's user"

UNKNOWN_KEY "E011"
"A key that does not exist there. Nothing is silently ignored: a misspelt key would otherwise leave a
door open that its writer believes shut.

    [[routes]]
    path = \"/admin/*\"
    role = [\"admin\"]       # the key is `roles`"

NOT_YET "E012"
"The key or value belongs to a feature that is planned and not part of this version. It is refused
rather than ignored, since the gateway would not do what the file says. Take it out, or wait for a
version that has it."

WRONG_TYPE "E013"
"The value has another type than the key asks for.

    strict_paths = \"yes\"     # must be true or false, without quotes
    retries = \"4\"            # must be a number, without quotes"

BARE_NUMBER "E014"
"Durations, sizes and rates are strings with their unit, because a bare number means seconds to one
reader and milliseconds to the next.

    idle = 75           # 75 what?
    idle = \"75s\"        # units: ms, s, m, h, d; B, KiB, MiB, GiB; /second, /minute, /hour, /day"

BAD_VALUE "E015"
"The value has the right type, and does not say anything that the key understands. The message names
what it understands, and the help gives examples."

OUT_OF_BOUNDS "E016"
"A number, duration or size beyond what is sensible. The bounds keep out what would make the gateway
unsafe (an access token that lives for a day) or useless (a time-out of nothing).

    access_ttl = \"2h\"     # from 1m to 60m"

MISSING "E017"
"A key without which its table says nothing, and that has no default.

    [[routes]]
    upstream = \"api\"      # for which path?"

BOTH "E018"
"Two keys that say the same thing, so that it cannot be told which one holds. Every secret key has a
twin that names a file, and only one of the two may be written.

    password      = \"...\"
    password_file = \"/run/secrets/password\""

DUPLICATE "E019"
"A name that must be the only one of its kind is used twice, perhaps in an included file. A route's
name is its path unless it has a `name`.

    [[routes]]
    path = \"/reports\"
    methods = [\"GET\"]
    [[routes]]
    name = \"upload reports\"     # else both would be named \"/reports\"
    path = \"/reports\"
    methods = [\"POST\"]"

UNSET "E021"
"A string names an environment variable that is not set (or, with `:?`, is empty), or not UTF-8.

    secret = \"${JWT_SECRET}\"                 # must be set
    issuer = \"${ISSUER:-https://example.com}\"  # has a default
    secret = \"${JWT_SECRET:?see the handbook}\" # tells what to do"

PLACEHOLDER "E022"
"`${` begins the name of an environment variable, which consists of letters, digits and `_` and does
not begin with a digit. A `$` without `{` is a plain dollar, so hashes need no escapes.

    \"${NAME}\"  \"${NAME:-default}\"  \"${NAME:?message}\""

NO_PUBLIC_URL "E030"
"Somebody beyond this machine can reach the gateway, and it does not know by which origin. The origin
is needed for cookies, for the issuer of tokens, and to tell the gateway's own pages from others.

    [server]
    listen     = \"0.0.0.0:8080\"
    public_url = \"https://apps.example.com\"     # what stands in the browser's address bar"

PLAIN_HTTP "E031"
"An origin by plain http that is not on this machine. Browsers keep Secure cookies only for https and
for loopback, so every login would be forgotten at once and lead back to the login page.

    public_url = \"https://apps.example.com\"     # a TLS proxy in front, this gateway plain behind it

In a network where nobody can listen, cookies can do without Secure:

    [cookies]
    insecure = \"trusted-network\""

INSECURE_ELSEWHERE "E032"
"`cookies.insecure = true` is for trying things out on loopback, where some browsers drop Secure
cookies. The origin is not on loopback, where it would only take protection away."

ORIGIN_CLASH "E033"
"Two served origins have the same host and differ only in their scheme. A request tells its host and
port, and its scheme is taken from the origin, so there must be one answer.

    public_url     = \"https://apps.example.com\"
    public_origins = [\"http://apps.example.com\"]"

UNIX_UNTRUSTED "E091"
"The gateway listens on a Unix socket, and nobody who comes by it is trusted. Such a peer has no address,
so all clients would be one: one limit for all, one address in every log. A proxy stands behind a Unix
socket, and it knows for whom it asks.

    listen          = \"unix:/run/portcullis/gate.sock\"
    trusted_proxies = [\"unix\"]"

CORS_SITE "E081"
"A CORS policy says that scripts of an origin act with the user's cookies, and that origin is of another
site than every origin that is served. Browsers keep the gateway's cookies to its own site, so none
would ever come. A site is a scheme and a domain with its subdomains; here the last two labels of a name
are taken for its domain, and all names of loopback are one site.

    public_url = \"https://apps.example.com\"
    [cors.spa]
    origins     = [\"https://spa.example.com\"]     # not \"https://spa.example.net\"
    credentials = true"

CORS_ANY "E082"
"A CORS policy for every origin (`*`) cannot have credentials: any page that a user opens could then read
and do what the user can. Browsers refuse the two together as well.

    [cors.spa]
    origins     = [\"https://spa.example.com\"]
    credentials = true"

RETRY_WINDOW "E041"
"Within `sessions.retry_window.cookie` a refresh token that was just replaced is answered again, so
that lost replies and parallel tabs sign nobody out. It must stay at or below a quarter of
`tokens.access_ttl`: only then does a stolen token meet its owner's soon enough to be noticed."

LIFETIMES "E042"
"A session has two ends: when it was idle too long, and an absolute one. An idle end beyond the
absolute one is never reached, so one of the two is not what its writer meant."

IDLE_SECRET "E043"
"`tokens.secret` is the shared secret of HS256. The other algorithms sign with private keys that the
gateway makes and keeps in `tokens.key_dir`; a secret beside them protects nothing."

NO_SECRET "E044"
"HS256 signs with a secret that you give.

    [tokens]
    algorithm = \"HS256\"
    secret    = \"${JWT_SECRET}\"     # or [new, old] while you change it, or secret_file"

WEAK_SECRET "E045"
"Whoever has one access token can try secrets on it at home, millions a second, and with the right
one make tokens for any user and role. A secret has at least 32 bytes, is no placeholder out of an
example, and is not one character repeated.

    openssl rand -base64 48"

AUDIENCE "E046"
"An upstream has the name that access tokens carry as their audience. Assertions made for that
upstream would then pass for access tokens. Rename the upstream, or set `tokens.audience`."

UNDEFINED_ROLE "E051"
"`auth.roles` is the closed list of roles. A rule for a role that nobody can have would shut everybody
out, and a misspelt one is noticed only by those who should have got in.

    [auth]
    roles = [\"admin\", \"editor\", \"user\"]"

UNDEFINED_UPSTREAM "E052"
"A route leads to an upstream that has no table. Name one that has, or write its URL.

    [upstreams.api]
    servers = [\"http://10.0.0.11:8080\"]
    [[routes]]
    path     = \"/api/*\"
    upstream = \"api\""

UNDEFINED_IDENTITY "E053"
"A route names a set of identity headers that there is not. Built in are `default` (Remote-User and
its kin), `none`, `signed`, and those for families of applications: `webauth`, `forwarded`,
`auth-request`, `radicale`, `octoprint`, `pgadmin`, `calibre-web` and `jupyter`. `[identity.NAME]` makes
others."

UNDEFINED_ROUTE "E054"
"A test or an `overrides` names a route that there is not. A route's name is its `name`, else its path
as it is written."

UNDEFINED_CORS "E083"
"A route, or `auth.cors`, names a CORS policy that has no table. A route can also write `upstream`,
which leaves it to the application.

    [cors.spa]
    origins = [\"https://spa.example.com\"]
    [[routes]]
    path = \"/api/*\"
    cors = \"spa\""

UNFIT_PASSWORD "E055"
"A bootstrap user's password is judged like any other that is set: at least `passwords.min_length`
characters, at most 1024 bytes, and not in the blocklist. A `hash` is taken as it is."

BAD_HASH "E056"
"Not a password hash that can be checked at login. `portcullis hash` makes one.

    hash = \"$argon2id$v=19$m=19456,t=2,p=1$...$...\""

REFUSED_USER "W018"
"No user of this name could be made. A bootstrap user who exists needs nothing; where nobody ever had
the name, the gateway does not start. A name of dots alone is no segment of a path, and a hash that is
dearer than `passwords.argon2` would tell by the time of a failed login that its name exists.

    name = \"alice\"
    hash = \"$argon2id$v=19$m=19456,t=2,p=1$...$...\"     # no dearer than [passwords.argon2]"

BAD_PATH "E060"
"Not a path pattern. A pattern begins with a slash; a segment is literal or `{name}`; the last one may
be `*`, for the path before it and everything below. It has no query, and no `.` or `..` segments.

    \"/\"  \"/about\"  \"/api/{version}/users\"  \"/admin/*\""

ON_AUTH_PATH "E061"
"Everything at or below `auth.path` is the gateway's own, on every host, so that no application can
stand where passwords are typed."

TIE "E062"
"Two routes match the same requests, and neither is more specific. The order of the file never
decides: a rule must not change because a line moved.

    [[routes]]
    path  = \"/admin/*\"
    roles = [\"admin\"]
    [[routes]]
    path   = \"/admin/*\"      # the same requests: which rule?
    access = \"public\""

MIXED_HOSTS "E063"
"Some routes name a host and others do not. Those without could be meant for every host or only for
the first one, so either none names a host, or all do; `host = \"*\"` is every host."

LENIENT "E064"
"A route of one host is open where a route for every host (`host = \"*\"`) asks for a login, a role or
a method. If that is meant, the route says so.

    [[routes]]
    name  = \"everywhere\"
    host  = \"*\"
    path  = \"/internal/*\"
    roles = [\"admin\"]
    [[routes]]
    host      = \"status.example.com\"
    path      = \"/internal/health\"
    access    = \"public\"
    overrides = \"everywhere\""

STRIP_PREFIX "E065"
"`strip_prefix` is cut from the front of every path that the route takes, so it must be the literal
beginning of the route's own path, on whole segments.

    path = \"/cal/*\"
    strip_prefix = \"/cal\"      # not \"/ca\", not \"/cal/\", not \"/{x}\""

ACCESS "E066"
"A route says both that nobody needs to sign in and who may come in, or it lists nobody. One of the
two is not meant. Without `access` a route is for those who are signed in; with `roles` or `users`,
for these alone."

METHODS "E067"
"Methods are compared exactly, and are upper case. CONNECT, TRACE and TRACK never reach an
application.

    methods = [\"GET\", \"POST\", \"PROPFIND\"]"

RESERVED_HEADER "E068"
"A route's `headers` cannot set or remove what the gateway itself answers for: headers of one
connection, the framing of the body, Host, cookies, forwarding headers, and those that tell an
application who the caller is."

IDENTITY_HEADER "E069"
"A header that cannot tell an application who the caller is, because it means something else, because
the gateway writes it, or because this identity writes it already. Names that differ only in case, or
in `-`, `_` and `.`, are one to many applications."

SEPARATOR "E070"
"Roles are joined into one header by the separator. If a role's name could hold it, one role could be
read as two. Names of roles consist of lower-case letters, digits and `. _ : -`, so a separator needs
some other character.

    roles = { header = \"Remote-Groups\", separator = \"|\" }"

LOGOUT "E075"
"`logout` lists paths at which the application of a route signs people out. A request for one goes to
the application, and its answer ends the session here too. Each is one whole path as the browser sees
it, a path of that route and of no more specific one, and the route must know who asks.

    path         = \"/cal/*\"
    strip_prefix = \"/cal\"
    logout       = [\"/cal/.web/logout\"]      # not \"/.web/logout\", not \"/cal/*\""


CERTIFICATE "E090"
"A certificate or its key cannot be used: the file holds none, or is damaged, or the key is encrypted
or belongs to another certificate. No client could be served with it.

    tls = { cert = \"tls.crt\", key = \"tls.key\" }    # tls.crt: own certificate first, then its issuers

An encrypted key is written without its password by `openssl pkey -in tls.key -out plain.key`."

HSTS "E093"
"`hsts` tells browsers to come by https alone (RFC 6797), which means something only where they come
by https at all: the gateway has a certificate itself, or a proxy before it has one.

    tls  = { cert = \"tls.crt\", key = \"tls.key\" }
    hsts = \"365d\""

REDIRECT "E092"
"`http_redirect` is a second listener that leads from http to https. It needs an https origin to lead
to, and an address that nothing else listens on.

    listen        = \"0.0.0.0:443\"
    http_redirect = { listen = \"0.0.0.0:80\" }"

PUBLIC_BELOW "W001"
"A route is public below a prefix that asks for a login. That is legal, and how files become public;
it is also how a door is left open by accident, so it is told at every start. Below a guarded `/*` it
is the usual thing, and not told."

INSECURE "W002"
"`cookies.insecure` takes the Secure attribute and the `__Host-` prefix from the gateway's cookies.
On loopback that is for trying things out. Elsewhere whoever can listen can take sessions over."

TOKEN_IN_BODY "W003"
"Browsers get the access token in the JSON of a login as well. Scripts can then send it to other
places, and so can a script that an attacker slipped into the page. The cookie needs no script."

UNREACHABLE "W004"
"Two paths that many servers read as one, since they differ only in case or the final slash. A request
must be permitted under every reading of its path, so the stricter rule holds for both."

OPEN_LISTENER "W005"
"The gateway listens on all addresses, and does not speak TLS itself. That is right behind a TLS proxy
or in a container whose port nobody else reaches, and wrong everywhere else."

UNVERIFIED "W010"
"The certificate of an upstream is not verified. The connection is encrypted, but nobody knows to whom:
whoever can get between the gateway and the application reads the identities it is told, and answers in
its place. A self-signed certificate can be named itself:

    tls = { ca = \"/etc/portcullis/app.crt\" }     # in the place of verify = \"off\""

TRUSTS_EVERYBODY "W011"
"`trusted_proxies` names every address there is. Whom a trusted proxy names in its header counts as the
client, so anybody can be anyone: the limits on guesses, the audit log and `allow_ips` all go by that
address. Name the proxies themselves.

    trusted_proxies = [\"10.0.0.0/8\"]"

STRIPS_INTO "W006"
"A route cuts off its prefix, and what remains is a path of the same application that another route
guards more strictly. The application sees the short path alone, and cannot tell the difference.

    path = \"/app/*\"            # lets everyone who is signed in come to ...
    strip_prefix = \"/app\"
    upstream = \"api\"
    ...
    path  = \"/admin/*\"         # ... what this route guards, by asking for /app/admin
    roles = [\"admin\"]
    upstream = \"api\""

EXPIRED "W012"
"The time of a certificate is over, and browsers refuse it with a page that frightens people. The
gateway starts all the same, so that whatever renews the certificate can still reach it."

FEW_CONNECTIONS "W014"
"An upstream may have fewer connections than there are workers. Each worker is a thread with connections
of its own, and has at least one to each server, so there may be one for each worker all the same. Where
an application bears no more than so many, let as many threads serve.

    workers = 1              # in [server]
    max_connections = 1      # in [upstreams.app]"

TAKEN "E094"
"The gateway is to listen twice at one address and port. An address that stands for all of a machine's
(`0.0.0.0`, `[::]`) has the port on every one of them.

    listen = \"0.0.0.0:8080\"
    admin  = \"127.0.0.1:9180\"     # not port 8080"

LOOP "E095"
"An upstream has a server that is a listener of this gateway. A request for it would come back to the
gateway, and again, until nothing is left to serve with. An upstream is the application itself, at an
address of its own.

    listen   = \"127.0.0.1:8080\"
    upstream = \"http://127.0.0.1:3000\"     # not port 8080"

FOREIGN "W016"
"A certificate names none of the hosts that are served, so no browser takes it for one of them. What
counts are its subject alternative names; names in its subject are not looked at.

    public_url = \"https://apps.example.com\"
    tls        = { cert = \"apps.crt\", key = \"apps.key\" }     # for apps.example.com or *.example.com"

EARLY "W017"
"The time of a certificate has not begun, and browsers refuse it until it has. A clock that is wrong
looks the same."

PLAIN_URL "W019"
"`public_url` is by http, and the gateway speaks TLS on every listener. The links of invitations
begin with it: whoever follows one gets no answer. `http_redirect` leads from http to https.

    public_url = \"https://localhost:8443\"     # not http
    tls        = { cert = \"tls.crt\", key = \"tls.key\" }"

SHORT_IDLE "W020"
"An idle end that is hardly longer than an access token lives signs out people who are active: their
sessions move it when their access token is renewed, and not with each request.

    [tokens]
    access_ttl = \"5m\"
    [sessions]
    idle       = \"10m\"     # at least access_ttl, retry_window.cookie and a minute together"

NO_ROUTES "W015"
"The file has no route, so the gateway serves its own pages and nothing else. That is how a file
looks that was cut short, too. A gateway that has routes takes no such
file over at a reload; a restart does.

    [[routes]]
    path     = \"/*\"
    upstream = \"http://127.0.0.1:3000\""

EXPOSED_KEY "W013"
"A private key that every account of the machine may read is the key of whoever gets any account. It
should belong to the user that runs the gateway, with mode 0600."
}
