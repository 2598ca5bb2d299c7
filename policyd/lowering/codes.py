"""What the findings of lowering mean: `PD12xx`, about what intents say together."""

from __future__ import annotations

from policyd.base.codes import Explanation, table

CODES = table(
    Explanation(
        "PD1201",
        "no mesh",
        "A repository describes one mesh, and one document of `kind: Mesh` names its trust domain and data "
        "planes. Without it no identity can be formed, so nothing is compiled.",
    ),
    Explanation(
        "PD1202",
        "two meshes",
        "A repository describes one mesh. Two meshes are two repositories, each with its own controller, joined "
        "by `identity` sources in access rules.",
    ),
    Explanation(
        "PD1203",
        "no such service",
        "A rule, split or objective names a service that no document defines. It compiles to deny, and the commit"
        " is refused, since a slip in a name would otherwise cut off a caller. When a service is removed, the "
        "rules that name it go in the same commit.",
    ),
    Explanation(
        "PD1204",
        "no such version",
        "`version` names the version that should serve, and `versions` has none of that name: nobody would serve.",
    ),
    Explanation(
        "PD1205",
        "no such SLO",
        "A gate names an SLO that does not exist. The short form `slo:` of a service `checkout` makes `checkout-"
        "availability` and, for `latency: {99: 300ms}`, `checkout-latency-99`.",
    ),
    Explanation(
        "PD1206",
        "no such strategy",
        "The mesh names a `RolloutStrategy` that does not exist. `immediate` is built in.",
    ),
    Explanation(
        "PD1207",
        "not your own",
        "Access rules, splits and objectives may only aim at services of their own namespace (`from` may name "
        "any). Otherwise a team could grant itself access to another team's service, or hold up its releases.",
    ),
    Explanation(
        "PD1208",
        "address used twice",
        "An address is where one sidecar listens. Two instances with one address would answer for each other, "
        "under one identity.",
    ),
    Explanation(
        "PD1209",
        "path rule for opaque paths",
        "A service with `opaquePaths` carries escapes such as `%2F` that two programs may read as two different "
        "paths, so no rule can tell its paths apart. Its rules allow every path, or none.",
    ),
    Explanation(
        "PD1210",
        "request rule for TCP",
        "A `tcp` service has connections, no requests. Its rules can only say who may connect, with "
        "`allow: [{connections: true}]`; they cannot ask for methods, paths or a token, and a health check not for a "
        "path.",
    ),
    Explanation(
        "PD1211",
        "SLO defined twice",
        "The short form of a service already makes an SLO of this name.",
    ),
    Explanation(
        "PD1212",
        "no such SLI",
        "`indicatorRef` names an `SLI` that no document defines in this namespace.",
    ),
    Explanation(
        "PD1213",
        "two splits for one service",
        "One `CanarySplit` says how every change of a service's version is taken. With two, nobody could tell which.",
    ),
    Explanation(
        "PD1214",
        "objective that cannot be measured",
        "policyd's own metric source counts answers: `{service, good: non-5xx}`, `{service, bad: 5xx}` or "
        "`{service, threshold: 300ms}` of `{service}`. One SLO has one objective and reads the service that it is"
        " about.",
    ),
    Explanation(
        "PD1215",
        "gate without data",
        "The gate's SLO is measured by a source that the proxies do not know, so no release could ever pass it. "
        "Gate on an SLO of `type: policyd`; others are kept for reports.",
    ),
    Explanation(
        "PD1216",
        "built-in name",
        "`immediate` is the built-in strategy: everywhere at once, without analysis. A document cannot change it.",
    ),
    Explanation(
        "PD1217",
        "port used twice",
        "Two listeners would want the same port of one address: the sidecar's two, or the sidecar's and its "
        "application's where both share a loopback address.",
    ),
    Explanation(
        "PD1218",
        "certificate lifetimes do not fit",
        "A leaf certificate lives at least a minute, since it is renewed at half its life, and cannot outlive the"
        " root that signed it.",
    ),
    Explanation(
        "PD1219",
        "try longer than the call",
        "`perTry` bounds each try and `request` the whole call, so a try that may last longer never ends by itself.",
    ),
    Explanation(
        "PD1220",
        "empty namespace",
        "A rule lets in a namespace without services. That is no error, since services may come later, but often "
        "a slip.",
    ),
    Explanation(
        "PD1221",
        "no such port",
        "A service has one port, the one that callers name. A permit for another port would never allow anything.",
    ),
    Explanation(
        "PD1222",
        "no such issuer",
        "A rule asks for a token of an issuer that the mesh does not name under `issuers`. It compiles to deny: "
        "nobody could tell a good token from a bad one.",
    ),
    Explanation(
        "PD1223",
        "no such rule to replace",
        "A rule that is only observed can stand for others (`replaces`), so that what it would close is counted too. "
        "They are rules of the same destination in the same namespace.",
    ),
    Explanation(
        "PD1224",
        "issuer named twice",
        "Two `issuers` of the mesh have the same `iss`. A token says no more than that, so nobody could tell which "
        "of them issued it, and a rule that asks for one would be met by tokens for the other's audiences.",
    ),
    Explanation(
        "PD1225",
        "a root that is not known here",
        "A `Revocation` distrusts a root certificate by its SHA-256. Which roots a mesh has is no part of Git, so a "
        "check cannot tell whether it is one of them or a slip. The controller knows: `policyd revocations`.",
    ),
    Explanation(
        "PD1226",
        "bounds that contradict each other",
        "A circuit breaker bounds what a caller has open at once. A request that waits is under way, too, and each "
        "connection carries one at least, so `pending` and `connections` are at most `requests`. Further tries are "
        "bounded once: by `retries.budget` or by `circuitBreaker.retries`.",
    ),
    Explanation(
        "PD1227",
        "outlier detection that contradicts itself",
        "An instance is left out for `baseTime`, then longer, up to `maxTime`. With `maxEjected: 100%` a fault that "
        "all instances share, in a database for example, would leave nobody to answer.",
    ),
    Explanation(
        "PD1228",
        "outlier detection without effect",
        "So many instances of the version that should serve are never left out: there are too few of them for the "
        "share that `maxEjected` allows, or for a comparison of success rates.",
    ),
    Explanation(
        "PD1250",
        "two routes for one service",
        "The first rule that matches is taken, so the order of rules must be one that a person can see: the order in "
        "one document. Two documents have none.",
    ),
    Explanation(
        "PD1251",
        "rule that is never reached",
        "The first rule of a route that matches is taken. A rule before this one matches every request that this one "
        "means, so it would never do anything.",
    ),
    Explanation(
        "PD1252",
        "no such version to go to",
        "A rule of a route sends requests to a version that the service does not have: nobody would answer.",
    ),
    Explanation(
        "PD1253",
        "weights that are no whole",
        "The weights of a split are per cent of its requests: they add up to 100, and each target stands there once.",
    ),
    Explanation(
        "PD1254",
        "redirect with more",
        "A redirect answers the client at once: no version is chosen, nothing is copied, delayed or rewritten. A "
        "rule that asks for both means two rules.",
    ),
    Explanation(
        "PD1255",
        "mirror to itself",
        "A copy of a request would go to the version that the request goes to anyway, or two copies to one place: "
        "everything would happen twice.",
    ),
    Explanation(
        "PD1256",
        "callers without a rule of their own",
        "A route may send requests to another service, and opens nothing by that: a caller gets there only with an "
        "access rule to that service. The requests of the others are shared by the targets that they may call; where "
        "there is none of these, they are denied.",
    ),
    Explanation(
        "PD1257",
        "pinned beside a canary",
        "A rule that names a version stays with it: a release moves only what follows the service's own split. So "
        "the callers that this rule means get no new version, or get one that nobody has proved; and what becomes of "
        "their requests is kept out of the analysis of canaries.",
    ),
    Explanation(
        "PD1258",
        "host that is no name of the service",
        "A service has its names, and a route gives it no others: `name` within its namespace, `name.namespace`, and "
        "`name.namespace.<trust domain>`. A rule for any other host is never taken.",
    ),
    Explanation(
        "PD1259",
        "match that never holds",
        "Sidecars take some headers away before they look for a route, since they could steer a proxy or claim an "
        "identity; others have a field of their own in `match`. Callees refuse requests with `_` in the name of a "
        "header. And paths that are opaque cannot be told apart. What a `PolicyTest` brings is held to the same, "
        "since it would hold where no request does.",
    ),
    Explanation(
        "PD1260",
        "route for TCP",
        "A `tcp` service has connections, no requests: there is nothing that a rule could match, and no request that "
        "could be sent there.",
    ),
    Explanation(
        "PD1261",
        "sticky to the only one",
        "All requests of the rule go to one version, so that clients stay with it anyway.",
    ),
    Explanation(
        "PD1262",
        "rewritten to what nobody may call",
        "Access rules judge the path that arrives at the callee. None of them allows what this rewrite makes of the "
        "path, so every such request is denied.",
    ),
    Explanation(
        "PD1263",
        "two rules of one name",
        "Logs and reviews call a rule by its name. Rules without one are called by their number, `rule-1` and so on.",
    ),
    Explanation(
        "PD1264",
        "bound longer than the one around it, in a route",
        "A rule of a route bounds each try longer than the whole call, be that bound its own or the service's; or "
        "the call longer than the service's `timeout.stream` lets any exchange last.",
    ),
    Explanation(
        "PD1265",
        "rewrite of a path that cannot be told",
        "For a path such as `/v1/**`, a rewrite puts another beginning in the place of `/v1`. Where the beginning "
        "has a `{name}`, proxies do not agree on what is left; and what is left begins with `/`, so that a new "
        "beginning ends without one. A path without `/**` is replaced as a whole.",
    ),
    Explanation(
        "PD1266",
        "redirect to itself",
        "The client is sent to a place that the same rule matches, which sends it there again, and again; or that "
        "another rule matches, which sends it back.",
    ),
    Explanation(
        "PD1267",
        "target of another protocol",
        "A rule leads calls of gRPC to a service that does not speak it, or other requests to one that speaks "
        "nothing else: none of them could be answered.",
    ),
    Explanation(
        "PD1268",
        "target that differs",
        "Requests were made for the route's own service and arrive unchanged at the other, with the host and port "
        "that the caller named. Where that one has another port, judges paths otherwise or refuses an upgrade, some "
        "of them may fail there.",
    ),
    Explanation(
        "PD1230",
        "load balancing that contradicts itself",
        "`ringHash` and `maglev` go by a header or a cookie and keep a ring or a table. The others look at no "
        "request. Only `leastRequest` and `roundRobin` can give an instance less than its share while it warms up.",
    ),
    Explanation(
        "PD1231",
        "a ring or table that cannot be made",
        "A ring has at least `min` and at most `max` places. Maglev's table has a prime number of them, since each "
        "instance steps through it in strides of its own. Each instance needs a place at least. A proxy neither "
        "takes nor refuses a ring that cannot be made, so it must not reach one.",
    ),
    Explanation(
        "PD1232",
        "one key, several instances",
        "Balancing by hash sends one key to one instance of a version. While a canary is on its way, each key has "
        "one of two versions: the share of a step is of keys, not of requests. With `preferZone` a key has an "
        "instance in each zone.",
    ),
    Explanation(
        "PD1233",
        "a zone preference without effect",
        "Calls stay in the caller's zone where a version has enough instances there, and overflow when too few of "
        "them are healthy. That needs instances in several zones, and a health check or outlier detection that finds "
        "out.",
    ),
    Explanation(
        "PD1234",
        "a panic threshold without effect",
        "Below the panic threshold unhealthy instances are called as well. Without a health check and without "
        "outlier detection all of them count as healthy, always.",
    ),
    Explanation(
        "PD1235",
        "times that contradict each other",
        "Opening a connection is a part of a try, tries and the waits between them are parts of the call, and the "
        "call is a part of the exchange, which `timeout.stream` bounds. A part that may last longer than the whole "
        "never gets its time.",
    ),
    Explanation(
        "PD1236",
        "silence that ends a call",
        "While a call waits for its answer nothing is sent, and a stream without traffic is ended after "
        "`timeout.idle`: so a shorter `idle` is what bounds such a call, not `request`.",
    ),
    Explanation(
        "PD1237",
        "a bound of tries without tries",
        "`timeout.perTry` bounds each try of a call that may be made again. Without `retries` a call has one try, "
        "which `timeout.request` bounds.",
    ),
    Explanation(
        "PD1238",
        "a gRPC check of what speaks no gRPC",
        "The gRPC health protocol is a call over HTTP/2. A service that speaks HTTP/1.1 is asked for a path.",
    ),
    Explanation(
        "PD1239",
        "slow tries that are not made again",
        "A try that `timeout.perTry` ends has no answer, and so no status: a condition such as 503 does not mean it, "
        "and the call ends there with 504. `reset` and `gateway-error` do.",
    ),
    Explanation(
        "PD1276",
        "a rate limit that cannot hold",
        "A rate limit counts requests of a service in a time between a second and a day. `tcp` has no requests, and "
        "with opaque paths nobody reads a path. Two limits that count the same requests in the same time contradict "
        "each other.",
    ),
    Explanation(
        "PD1277",
        "a rate limit without effect",
        "All callers together may not have more than the limit leaves to each of them, so it never refuses anything.",
    ),
    Explanation(
        "PD1240",
        "fallbacks that lead back",
        "A service is its own fallback, by itself or by way of others. When all of them are down, or merely too "
        "slow, the load of each falls on the next one and comes round again.",
    ),
    Explanation(
        "PD1241",
        "falls back to the version that serves",
        "The fallback names the version that serves already. The line means something again once another version "
        "serves.",
    ),
    Explanation(
        "PD1242",
        "nobody in that zone",
        "A fallback names a zone, and no instance of the service is in it, or with `zone: other` in any zone but "
        "one. Instances say where they run: `{address: 10.0.1.12, zone: b}`.",
    ),
    Explanation(
        "PD1243",
        "a fallback of another protocol",
        "A call that goes on elsewhere is the same call, so the fallback speaks what the service speaks.",
    ),
    Explanation(
        "PD1244",
        "a fallback that differs",
        "Calls are made for the service and arrive unchanged at the fallback, with the host and port that the caller "
        "named. Where the fallback has another port, judges paths otherwise or refuses an upgrade, some of them may "
        "fail there.",
    ),
    Explanation(
        "PD1245",
        "callers without a rule to the fallback",
        "Naming a fallback opens nothing. Whoever may call the service but not the fallback is not led there: his "
        "calls fail while the service is down. A rule to the fallback comes from the team that owns it.",
    ),
    Explanation(
        "PD1246",
        "calls that the fallback denies",
        "The fallback is judged by its own rules. A caller may send some request to the service that no single "
        "permit of his rules to the fallback allows; while the service is down it is answered with 403.",
    ),
    Explanation(
        "PD1247",
        "a bound that failover breaks, or breaks by",
        "While a service goes down every call to it is tried again. A share of the active calls cannot bound that, "
        "and does not; a number in `circuitBreaker.retries` does, and the calls beyond it are lost.",
    ),
    Explanation(
        "PD1248",
        "failover without a health check",
        "What is down is found by its errors alone, so that some calls pay for it: those that may not be sent twice "
        "are lost, and the way back begins with a try. A health check asks for them.",
    ),
    Explanation(
        "PD1249",
        "a fallback named twice",
        "Fallbacks are tried in their order, and one that is down is not tried again further on.",
    ),
    Explanation(
        "PD1280",
        "name or host of an external host taken",
        "Rules name services and external hosts alike, so no two of them share a name. A sidecar knows by the host "
        "which rules a request falls under, so no two of them share a host either, and none has a name of the mesh.",
    ),
    Explanation(
        "PD1283",
        "a condition that nobody can judge",
        "Nobody sits in front of an external host but the caller's own sidecar. It knows which service it belongs "
        "to; the address of a peer or a token would be its own application's word.",
    ),
    Explanation(
        "PD1284",
        "an external host in the place of a service",
        "It has no instances, versions or sidecar of the mesh, so nothing can be split over it, led to it or allowed "
        "to it as a caller. Services call it by its host, as access rules allow.",
    ),
    Explanation(
        "PD1285",
        "name or address of a gateway taken",
        "Rules name services, external hosts and gateways alike, so no two of them share a name. A proxy is known by "
        "its address, so no two of them share one.",
    ),
    Explanation(
        "PD1286",
        "listeners of a gateway at odds",
        "On one port a host has one listener, since a client is shown one certificate; and a port speaks TLS or it "
        "does not.",
    ),
    Explanation(
        "PD1287",
        "a gateway in the place of a service",
        "Nobody inside the mesh calls a gateway, so no rule opens it and nothing is led to it. It leads to services "
        "that take requests: not out of the mesh again, not to another gateway, not to `tcp`.",
    ),
    Explanation(
        "PD1288",
        "a route of a gateway that no rule lets it go",
        "A gateway calls services with an identity of its own, and a route opens nothing. Without an access rule of "
        "the service that names the gateway its proxies answer 403; with one for other paths the service does.",
    ),
    Explanation(
        "PD1289",
        "a route for a host that nobody can ask for",
        "Requests come in by the listeners. A host that none of them has, or only one that sends clients to TLS, is "
        "never matched by a route.",
    ),
    Explanation(
        "PD1290",
        "no TLS where clients are sent for it",
        "A listener without `tls` tells clients to come again over TLS, unless it says `plaintext: true`; then some "
        "listener has to speak it for that host.",
    ),
    Explanation(
        "PD1291",
        "rules of a route that a gateway does not take",
        "The `Route` of a service is for the sidecars of its callers. A gateway has routes of its own, which see "
        "what clients asked for; the service's split, its canaries, bounds, tries and failover hold for both.",
    ),
    Explanation(
        "PD1293",
        "connections to a service that takes requests",
        "`connections: true` lets connections in, to a `tcp` service. Every other service takes requests, and a rule "
        "says which methods and paths. The line allows nothing.",
    ),
    Explanation(
        "PD1294",
        "a port of its own for what has a name",
        "A request says whom it is for, so services that take requests are called by name through the sidecar's one "
        "port. `localPorts` are for `tcp` services, which are known by the port alone.",
    ),
    Explanation(
        "PD1295",
        "loopback port wanted twice",
        "An application finds each `tcp` service that it may connect to at one port of its sidecar's loopback, the "
        "service's own unless `localPorts` of the caller says otherwise. Where another one, the application itself "
        "or the sidecar listens there already, nobody could tell which is meant: it has no way until the port is "
        "another.",
    ),
    Explanation(
        "PD1296",
        "requests of a service that has none",
        "The line says how requests are treated, and a `tcp` service takes connections: no header, method, path or "
        "answer could be looked at, so it would have no effect.",
    ),
    Explanation(
        "PD1297",
        "a status of gRPC where none is spoken",
        "`retries.on` can name how a gRPC call ended, such as `unavailable`. Calls of HTTP end with a status code.",
    ),
    Explanation(
        "PD1298",
        "retries that gRPC never meets",
        "Every gRPC call is a `POST` that is answered with 200; how it ended stands behind the answer. So a status "
        "code in `on` is never met, and methods without `POST` mean that nothing is tried again. With "
        "`on: [unavailable]` what a server could not do may be sent twice; after `connect-failure` and "
        "`refused-stream` it never got there.",
    ),
)
