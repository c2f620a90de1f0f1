//! Every operation there is. A test holds them against the router, both ways.

use net::problem::{
    CONFLICT, GONE, INVALID, NOT_FOUND, NOT_SUPPORTED, REQUEST_TIMEOUT, STORE_UNAVAILABLE, WAIT_NOT_REACHED,
};

use super::operation::{JSON, NDJSON, Operation, delete, get, patch, post, put};

pub fn all() -> Vec<Operation> {
    let parts = [
        services(),
        upstreams(),
        authorizers(),
        limits(),
        history(),
        fleet(),
        pages(),
        streams(),
    ];
    parts.into_iter().flatten().collect()
}

fn services() -> Vec<Operation> {
    const ONE: &str = "/v1/services/{service}";
    vec![
        get("/v1/services", "listServices", "List services").pages("ServicePage"),
        get(ONE, "getService", "Show a service").shows("ServiceShown"),
        put(ONE, "putService", "Create or replace a service").body("Service").writes().conditional(),
        patch(ONE, "patchService", "Change fields of a service").patch_body("ServicePatch").writes().conditional(),
        delete(ONE, "deleteService", "Delete a service")
            .says("With its upstreams, which drain. What is absent is deleted already.")
            .writes()
            .conditional(),
        get("/v1/services/{service}/hold", "getHold", "Show how a service is held").shows("HoldShown"),
        post("/v1/services/{service}/hold", "holdService", "Hold a service")
            .says("New requests wait; the answer comes when none is in flight on any proxy. After max they go on by themselves.")
            .optional_body("Hold")
            .writes()
            .conditional()
            .refuses(&[NOT_FOUND]),
        post("/v1/services/{service}/resume", "resumeService", "Let a held service go on")
            .optional_body("Nothing")
            .writes()
            .conditional()
            .refuses(&[NOT_FOUND]),
    ]
}

fn upstreams() -> Vec<Operation> {
    const ONE: &str = "/v1/services/{service}/upstreams/{id}";
    vec![
        get(
            "/v1/services/{service}/upstreams",
            "listUpstreams",
            "List the upstreams of a service",
        )
        .pages("UpstreamPage")
        .takes(&["query.status"])
        .refuses(&[NOT_FOUND, STORE_UNAVAILABLE]),
        get(ONE, "getUpstream", "Show an upstream").shows("UpstreamShown"),
        put(ONE, "putUpstream", "Register an upstream, or renew its registration")
            .says(
                "Without a body the id is the address. Repeated as it is, it commits nothing and waits again. Where the \
                 upstream has a ttl, and the body has one and the same address, it is a heartbeat: a weight and a state that \
                 it does not say stay as they are.",
            )
            .optional_body("Upstream")
            .writes()
            .conditional()
            .refuses(&[NOT_FOUND]),
        patch(ONE, "patchUpstream", "Change fields of an upstream")
            .patch_body("UpstreamPatch")
            .writes()
            .conditional(),
        delete(ONE, "deleteUpstream", "Unregister an upstream")
            .says("The answer comes when nothing is in flight there any more.")
            .writes()
            .conditional(),
        get(
            "/v1/upstreams",
            "listRegistrations",
            "List every registration of an address",
        )
        .takes(&["query.address", "query.status"])
        .pages("UpstreamPage"),
        delete("/v1/upstreams", "leave", "Unregister an address everywhere")
            .says("In one revision; then the address is free of traffic.")
            .takes(&["query.address"])
            .writes(),
    ]
}

fn authorizers() -> Vec<Operation> {
    const ONE: &str = "/v1/authorizers/{authorizer}";
    vec![
        get("/v1/authorizers", "listAuthorizers", "List authorizers").pages("AuthorizerPage"),
        get(ONE, "getAuthorizer", "Show an authorizer").shows("AuthorizerShown"),
        put(ONE, "putAuthorizer", "Create or replace an authorizer")
            .body("Authorizer")
            .writes()
            .conditional(),
        patch(ONE, "patchAuthorizer", "Change fields of an authorizer")
            .patch_body("AuthorizerPatch")
            .writes()
            .conditional(),
        delete(ONE, "deleteAuthorizer", "Delete an authorizer")
            .says("One that a service names stays: 409.")
            .writes()
            .conditional(),
        post(
            "/v1/authorizers/{authorizer}/revoke",
            "revoke",
            "Forget remembered answers everywhere",
        )
        .body("Revocation")
        .writes()
        .refuses(&[NOT_FOUND]),
    ]
}

fn limits() -> Vec<Operation> {
    const ONE: &str = "/v1/limits/{limit}";
    const USAGE: &str = "/v1/limits/{limit}/usage";
    let counted = [NOT_FOUND, NOT_SUPPORTED, STORE_UNAVAILABLE];
    vec![
        get("/v1/limits", "listLimits", "List limits").pages("LimitPage"),
        get(ONE, "getLimit", "Show a limit").shows("LimitShown"),
        put(ONE, "putLimit", "Create or replace a limit")
            .body("Limit")
            .writes()
            .conditional(),
        patch(ONE, "patchLimit", "Change fields of a limit")
            .patch_body("LimitPatch")
            .writes()
            .conditional(),
        delete(ONE, "deleteLimit", "Delete a limit").writes().conditional(),
        get(USAGE, "getUsage", "Show how much of a limit one requester has used")
            .takes(&["query.key"])
            .answers(200, "As it is counted now.", &[(JSON, "Usage")])
            .refuses(&counted),
        delete(USAGE, "resetUsage", "Let a requester's count begin anew")
            .takes(&["query.key"])
            .answers(
                200,
                "No proxy refuses by what was counted before.",
                &[(JSON, "UsageReset")],
            )
            .refuses(&counted)
            .refuses(&[WAIT_NOT_REACHED]),
    ]
}

fn history() -> Vec<Operation> {
    vec![
        get("/v1/revisions", "listRevisions", "List revisions")
            .says("Without since= from as far back as history reaches. next is what since= goes on from.")
            .takes(&["query.since", "query.limit", "query.op_id"])
            .answers(200, "A page, oldest first.", &[(JSON, "CommitPage")])
            .refuses(&[GONE, STORE_UNAVAILABLE]),
        get(
            "/v1/revisions/{revision}",
            "getRevision",
            "Show a revision, and how far the fleet has come with it",
        )
        .answers(200, "The revision.", &[(JSON, "Commit")])
        .refuses(&[INVALID, NOT_FOUND, GONE, STORE_UNAVAILABLE]),
        post(
            "/v1/revisions/{revision}/revert",
            "revert",
            "Let everything stand as it stood at a revision",
        )
        .says("What was changed after it, in a revision of its own.")
        .optional_body("Nothing")
        .writes_many()
        .refuses(&[NOT_FOUND, GONE]),
        get("/v1/watch", "watch", "Follow revisions as they come")
            .says("A line of JSON each, and a beat every second.")
            .takes(&["query.since"])
            .answers(200, "Lines, without an end.", &[(NDJSON, "WatchLine")])
            .refuses(&[GONE, STORE_UNAVAILABLE]),
        get("/v1/snapshot", "getSnapshot", "Take a snapshot of the whole state")
            .says("A backup, in a form of its own; asked for as application/json: a document that /v1/apply takes.")
            .takes_quietly(&["query.scope"])
            .answers(200, "The state.", &[("application/zstd", ""), (JSON, "Apply")])
            .refuses(&[STORE_UNAVAILABLE]),
        post("/v1/apply", "apply", "Let many objects be as a document says")
            .says("Up to 128 MiB; one revision up to 1 MiB of changes, several beyond, which the answer says.")
            .body("Apply")
            .writes_many()
            .takes(&["query.prune"]),
        get("/v1/explain", "explain", "Explain where a request would go, and why")
            .takes(&[
                "query.method",
                "query.url",
                "query.header",
                "query.recipient",
                "query.proxy",
                "query.auth_token",
                "query.length",
            ])
            .answers(200, "By the table that proxies route with.", &[(JSON, "Explained")])
            .refuses(&[NOT_FOUND]),
    ]
}

fn fleet() -> Vec<Operation> {
    vec![
        get("/v1/fleet", "listFleet", "List the proxies").pages("FleetPage"),
        get(
            "/v1/fleet/{proxy}",
            "getProxy",
            "Show a proxy, and how it sees the upstreams",
        )
        .answers(200, "The proxy.", &[(JSON, "Proxy")])
        .refuses(&[NOT_FOUND, STORE_UNAVAILABLE]),
        delete("/v1/fleet/{proxy}", "forgetProxy", "Forget a proxy that is away")
            .says("Within its lease the answer waits for the end of it. One that is present stays: 409.")
            .takes(&["query.timeout"])
            .answers(200, "It is not on the roster.", &[(JSON, "Written")])
            .refuses(&[
                CONFLICT,
                STORE_UNAVAILABLE,
                net::problem::OUTCOME_UNKNOWN,
                WAIT_NOT_REACHED,
            ]),
        post("/v1/fleet/succeed", "succeed", "Take over the proxies of another store")
            .body("Succession")
            .writes(),
        get(
            "/v1/traffic",
            "listTraffic",
            "Show how many requests each proxy has answered",
        )
        .pages("TrafficPage")
        .takes(&["query.services"]),
    ]
}

/// What operations and people look at.
fn pages() -> Vec<Operation> {
    let html = &[("text/html", "")];
    vec![
        get("/healthz", "isAlive", "Whether it runs").answers(200, "It does.", &[(JSON, "State")]),
        get("/readyz", "isReady", "Whether it is ready")
            .answers(200, "It is.", &[(JSON, "State")])
            .answers(503, "It starts, or stops.", &[(JSON, "State")]),
        get("/metrics", "getMetrics", "Metrics, as Prometheus reads them").answers(
            200,
            "Its own, and of the fleet.",
            &[("text/plain", "")],
        ),
        get("/openapi.json", "getDocument", "This document")
            .answers(200, "OpenAPI 3.1.", &[(JSON, "Document")])
            .tagged(),
        get("/docs", "getDocs", "This document as a page")
            .answers(200, "A page.", html)
            .tagged(),
        get("/", "getDashboard", "The dashboard")
            .answers(200, "A page.", html)
            .tagged(),
        get("/dashboard/{file}", "getDashboardFile", "A file of a page")
            .answers(
                200,
                "The file.",
                &[
                    ("text/html", ""),
                    ("text/javascript", ""),
                    ("text/css", ""),
                    ("image/svg+xml", ""),
                ],
            )
            .tagged()
            .refuses(&[NOT_FOUND]),
    ]
}

/// What proxies and control planes say to each other: not for others, and as each release wants it.
fn streams() -> Vec<Operation> {
    const OF_ACCOUNT: &str = "/v1/peers/limits/{limit}/{key}";
    let told = [(JSON, "Told")];
    let told = |operation: Operation| operation.answers(200, "An answer.", &told).refuses(&[NOT_FOUND]);
    vec![
        post("/v1/stream", "openStream", "A proxy's stream")
            .streams()
            .refuses(&[CONFLICT, INVALID, REQUEST_TIMEOUT]),
        post("/v1/peers", "openPeers", "Another control plane's stream")
            .streams()
            .refuses(&[CONFLICT, INVALID, REQUEST_TIMEOUT]),
        told(get(
            "/v1/peers/upstreams/{proxy}",
            "askPeer",
            "How a proxy sees its upstreams",
        )),
        // A store of one control plane has no others.
        post("/v1/peers/heartbeats", "openHeartbeats", "Renewals of registrations")
            .streams()
            .refuses(&[NOT_FOUND]),
        post("/v1/peers/limits", "openLimits", "Questions about accounts of limits").streams(),
        told(get(OF_ACCOUNT, "askAccount", "What is spent of an account")),
        told(post(OF_ACCOUNT, "resetAccount", "Let an account begin anew")),
        told(get(
            "/v1/peers/limits/{limit}/{key}/in-flight",
            "askInFlight",
            "How many of an account are in flight",
        )),
    ]
}
