//! Limits: defaults, the canonical body, refusals.

use super::{fields, json};
use crate::model::InvalidKind::{self, Invalid as Wrong, Malformed};
use crate::model::{Algorithm, CountedUnder, Limit, Mode, OnUnreachable};

const ID: &str = "5b1f7c0e-7d1a-4f3e-9a53-0c1d2e3f4a5b";

fn limit(text: &str) -> Limit {
    Limit::parse(ID, text).unwrap_or_else(|invalid| panic!("{text}: {invalid}"))
}

#[test]
fn it_shows_its_defaults_and_stores_none() {
    let parsed = limit(r#"{"threshold":100}"#);
    assert_eq!(
        parsed.document(),
        json(
            r#"{"auth_token": ".*", "protocol": ".*", "method": ".*", "path": ".*", "data_size": 0,
                "period": 60, "threshold": 100, "service": null, "algorithm": "sliding", "on_unreachable": "share",
                "mode": "enforce", "override": false, "key": "auth_token", "cost": 1, "delay_max": "0s",
                "concurrent": null}"#
        )
    );
    assert_eq!(parsed.body().as_str(), r#"{"threshold":100}"#);
    assert_eq!(limit(&parsed.document().to_string()), parsed);
    let said = r#"{"threshold":100,"cost":1,"delay_max":"0ms","concurrent":null}"#;
    assert_eq!(limit(said), parsed, "fields may stand at their defaults");
}

#[test]
fn everything_that_can_be_said_is_kept() {
    let parsed = limit(
        r#"{"auth_token": "alice@example\\.com$", "protocol": "http", "method": "POST|PUT", "path": "/v1/(send|mail)",
            "data_size": "10MB", "period": 2678400, "threshold": 1000000000000, "service": "web", "algorithm": "fixed",
            "on_unreachable": "closed", "mode": "observe", "override": true, "key": "client_ip", "delay_max": "1h", "concurrent": 1000000}"#,
    );
    assert_eq!((parsed.data_size, parsed.period), (10_000_000, 2_678_400));
    assert_eq!(
        (parsed.algorithm, parsed.on_unreachable, parsed.mode, parsed.key),
        (
            Algorithm::Fixed,
            OnUnreachable::Closed,
            Mode::Observe,
            CountedUnder::ClientIp
        )
    );
    assert_eq!(
        parsed.body().as_str(),
        concat!(
            r#"{"algorithm":"fixed","auth_token":"alice@example\\.com$","concurrent":1000000,"data_size":"10MB","delay_max":"1h","key":"client_ip","#,
            r#""method":"POST|PUT","mode":"observe","on_unreachable":"closed","override":true,"#,
            r#""path":"/v1/(send|mail)","period":2678400,"protocol":"http","service":"web","threshold":1000000000000}"#
        )
    );
    for again in [parsed.body().as_str(), &parsed.document().to_string()] {
        assert_eq!(limit(again), parsed, "{again}");
    }
}

#[test]
fn every_kind_of_cost_is_kept() {
    let costs = [
        "7",
        r#"{"default":1,"request_header":"x-cost"}"#,
        r#"{"default":9,"request_header":"x-cost"}"#,
        r#"{"reserve":10,"settle_header":"x-used"}"#,
    ];
    for cost in costs {
        let body = format!(r#"{{"cost":{cost},"threshold":10}}"#);
        let parsed = limit(&body);
        assert_eq!(parsed.body().as_str(), body);
        assert_eq!(limit(&parsed.document().to_string()), parsed);
    }
    let named = limit(r#"{"threshold":10,"cost":{"request_header":"X-Cost"}}"#);
    let kept = r#"{"cost":{"default":1,"request_header":"x-cost"},"threshold":10}"#;
    assert_eq!(named.body().as_str(), kept);
    let stored = json(r#"{"threshold": 5, "cost": 5}"#);
    let invalid = Limit::patched(ID, stored, &json(r#"{"threshold": 4}"#)).unwrap_err();
    assert_eq!(fields(&invalid), ["cost"], "nothing would pass any more");
}

#[test]
fn a_patch_may_take_back_what_was_said() {
    let stored = json(r#"{"threshold": 5, "service": "web", "mode": "observe"}"#);
    let patched = Limit::patched(ID, stored.clone(), &json(r#"{"service": null, "threshold": 6}"#)).unwrap();
    assert_eq!(patched.body().as_str(), r#"{"mode":"observe","threshold":6}"#);
    let invalid = Limit::patched(ID, stored.clone(), &json(r#"{"treshold": null}"#)).unwrap_err();
    assert_eq!(fields(&invalid), ["treshold"]);
    let invalid = Limit::patched(ID, stored, &json(r#"{"threshold": null}"#)).unwrap_err();
    assert_eq!(fields(&invalid), ["threshold"]);
}

#[test]
fn refusals_name_the_field() {
    let large = format!(r#"{{"threshold":1,"auth_token":"{}"}}"#, "a".repeat(4_097));
    let cases: [(&str, InvalidKind, &str); 46] = [
        ("{", Malformed, ""),
        ("{}", Wrong, "threshold"),
        (r#"{"threshold":1,"threshold":2}"#, Malformed, "threshold"),
        (r#"{"threshold":-1}"#, Wrong, "threshold"),
        (r#"{"threshold":1000000000001}"#, Wrong, "threshold"),
        (r#"{"threshold":1.5}"#, Wrong, "threshold"),
        (r#"{"threshold":"1"}"#, Wrong, "threshold"),
        (r#"{"threshold":1,"period":0}"#, Wrong, "period"),
        (r#"{"threshold":1,"period":2678401}"#, Wrong, "period"),
        (r#"{"threshold":1,"period":"60s"}"#, Wrong, "period"),
        (r#"{"threshold":1,"period":null}"#, Wrong, "period"),
        (r#"{"threshold":1,"auth_token":"("}"#, Wrong, "auth_token"),
        (r#"{"threshold":1,"auth_token":"a)|(b"}"#, Wrong, "auth_token"),
        (r#"{"threshold":1,"auth_token":"(?=a)"}"#, Wrong, "auth_token"),
        (r#"{"threshold":1,"auth_token":null}"#, Wrong, "auth_token"),
        (&large, Wrong, "auth_token"),
        (r#"{"threshold":1,"protocol":"[z-a]"}"#, Wrong, "protocol"),
        (r#"{"threshold":1,"protocol":"FTP"}"#, Wrong, "protocol"),
        (r#"{"threshold":1,"protocol":"HTTPS"}"#, Wrong, "protocol"),
        (r#"{"threshold":1,"method":"*"}"#, Wrong, "method"),
        (r#"{"threshold":1,"method":["GET"]}"#, Wrong, "method"),
        (r#"{"threshold":1,"path":"(\\w{9}){999}"}"#, Wrong, "path"),
        (r#"{"threshold":1,"path":"((a*){99}){99}{99}"}"#, Wrong, "path"),
        (r#"{"threshold":1,"data_size":-1}"#, Wrong, "data_size"),
        (r#"{"threshold":1,"data_size":"ten"}"#, Wrong, "data_size"),
        (r#"{"threshold":1,"service":"Web"}"#, Wrong, "service"),
        (r#"{"threshold":1,"algorithm":"leaky"}"#, Wrong, "algorithm"),
        (r#"{"threshold":1,"on_unreachable":"deny"}"#, Wrong, "on_unreachable"),
        (r#"{"threshold":1,"mode":"off"}"#, Wrong, "mode"),
        (r#"{"threshold":1,"override":"yes"}"#, Wrong, "override"),
        (r#"{"threshold":1,"key":"ip"}"#, Wrong, "key"),
        (r#"{"threshold":1,"burst":5}"#, Wrong, "burst"),
        (r#"{"threshold":1,"cost":2}"#, Wrong, "cost"),
        (r#"{"threshold":0,"cost":2}"#, Wrong, "cost"),
        (r#"{"threshold":1,"cost":0}"#, Wrong, "cost"),
        (r#"{"threshold":1000000000000,"cost":1000000001}"#, Wrong, "cost"),
        (r#"{"threshold":1,"cost":"2"}"#, Wrong, "cost"),
        (
            r#"{"threshold":1,"cost":{"request_header":"x-cost","default":2}}"#,
            Wrong,
            "cost",
        ),
        (
            r#"{"threshold":8,"cost":{"reserve":9,"settle_header":"x-used"}}"#,
            Wrong,
            "cost",
        ),
        (r#"{"threshold":1,"cost":{"reserve":9}}"#, Wrong, "cost.settle_header"),
        (
            r#"{"threshold":1,"cost":{"request_header":"a b"}}"#,
            Wrong,
            "cost.request_header",
        ),
        (r#"{"threshold":1,"delay_max":"-1s"}"#, Wrong, "delay_max"),
        (r#"{"threshold":1,"delay_max":"2h"}"#, Wrong, "delay_max"),
        (r#"{"threshold":1,"concurrent":0}"#, Wrong, "concurrent"),
        (r#"{"threshold":1,"concurrent":1000001}"#, Wrong, "concurrent"),
        (r#"{"threshold":1,"concurrent":"all"}"#, Wrong, "concurrent"),
    ];
    for (text, kind, field) in cases {
        let invalid = Limit::parse(ID, text).expect_err(text);
        assert_eq!(
            (fields(&invalid).as_slice(), invalid.kind),
            (&[field][..], kind),
            "{text}: {invalid}"
        );
    }
}

#[test]
fn an_id_has_one_form() {
    for id in [
        "5B1F7C0E-7D1A-4F3E-9A53-0C1D2E3F4A5B",
        "5b1f7c0e7d1a4f3e9a530c1d2e3f4a5b",
        "{5b1f7c0e-7d1a-4f3e-9a53-0c1d2e3f4a5b}",
        "urn:uuid:5b1f7c0e-7d1a-4f3e-9a53-0c1d2e3f4a5b",
        "web",
        "",
    ] {
        let invalid = Limit::parse(id, r#"{"threshold":1}"#).expect_err(id);
        assert_eq!(fields(&invalid), ["id"]);
    }
    for id in [
        "00000000-0000-0000-0000-000000000000",
        "01890a5d-ac96-774b-bcce-b302099a8057",
    ] {
        assert_eq!(Limit::parse(id, r#"{"threshold":1}"#).unwrap().id.to_string(), id);
    }
}
