//! A state as the document that `/v1/apply` takes: services with their upstreams, authorizers and limits, fields at
//! their default left out. The same state is the same text, byte for byte.

use std::io::{self, Write};

use shared::change::{Body, Kind, ObjectKey};
use shared::state::State;

/// Written object by object, as they stand: nothing is built up.
pub(super) fn write(state: &State, to: &mut impl Write) -> io::Result<()> {
    to.write_all(b"{")?;
    for (name, kind) in [("authorizers", Kind::Authorizer), ("limits", Kind::Limit)] {
        let mut objects = of_kind(state, kind).peekable();
        if objects.peek().is_some() {
            write!(to, "\"{name}\":{{")?;
            members(to, objects)?;
            to.write_all(b"},")?;
        }
    }
    to.write_all(b"\"services\":{")?;
    let mut before: &[u8] = b"";
    for (name, body) in of_kind(state, Kind::Service) {
        to.write_all(before)?;
        key(to, name)?;
        service(to, state, name, body)?;
        before = b",";
    }
    to.write_all(b"}}")
}

fn of_kind(state: &State, kind: Kind) -> impl Iterator<Item = (&str, &Body)> {
    let from = ObjectKey {
        kind: kind.clone(),
        key: "".into(),
    };
    let objects = state.objects.range(from..).take_while(move |(key, _)| key.kind == kind);
    objects.map(|(key, object)| (&*key.key, &object.body))
}

/// Its own members, and then its upstreams: that is where their name stands in the order of names.
fn service(to: &mut impl Write, state: &State, name: &str, body: &Body) -> io::Result<()> {
    let prefix = format!("{name}/");
    let from = ObjectKey {
        kind: Kind::Upstream,
        key: prefix.as_str().into(),
    };
    let upstreams = state.objects.range(from..);
    let upstreams = upstreams.map_while(|(key, object)| match key.kind {
        Kind::Upstream => Some((key.key.strip_prefix(&prefix)?, &object.body)),
        _ => None,
    });
    let mut upstreams = upstreams.peekable();
    let own = body.as_str();
    let Some(open) = own.strip_suffix('}').filter(|_| upstreams.peek().is_some()) else {
        return to.write_all(own.as_bytes());
    };
    to.write_all(open.as_bytes())?;
    to.write_all(if open == "{" {
        b"\"upstreams\":{"
    } else {
        b",\"upstreams\":{"
    })?;
    members(to, upstreams)?;
    to.write_all(b"}}")
}

fn members<'a>(to: &mut impl Write, objects: impl Iterator<Item = (&'a str, &'a Body)>) -> io::Result<()> {
    let mut before: &[u8] = b"";
    for (name, body) in objects {
        to.write_all(before)?;
        key(to, name)?;
        to.write_all(body.as_str().as_bytes())?;
        before = b",";
    }
    Ok(())
}

fn key(to: &mut impl Write, name: &str) -> io::Result<()> {
    serde_json::to_writer(&mut *to, name)?;
    to.write_all(b":")
}

#[cfg(test)]
mod tests {
    use shared::change::{Body, Epoch, Op, Revision, Verb};

    use super::*;

    fn text(state: &State) -> String {
        let mut bytes = Vec::new();
        write(state, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn upstreams_stand_in_their_service() {
        let mut state = State::empty(Epoch(uuid::Uuid::nil()));
        let objects = [
            (Kind::Service, "web", r#"{"match":[]}"#),
            (Kind::Upstream, "web/a:1", r#"{"weight":2}"#),
            (Kind::Upstream, "web-2/b:1", "{}"),
            (Kind::Service, "web-2", r#"{"match":[]}"#),
            (Kind::Service, "bare", "{}"),
            (Kind::Member, "proxy", r#"{}"#),
            (Kind::Authorizer, "main", r#"{"service":"web"}"#),
            (Kind::Revocation, "main", r#"{}"#),
            (
                Kind::Limit,
                "5b1f7c0e-7d1a-4f3e-9a53-0c1d2e3f4a5b",
                r#"{"threshold":5}"#,
            ),
        ];
        for (revision, (kind, key, body)) in objects.into_iter().enumerate() {
            let op = Op {
                verb: Verb::Put,
                kind,
                key: key.into(),
                body: Some(Body::from_json(body).unwrap()),
                registration: None,
                before: None,
            };
            state.apply_op(&op, Revision(revision as u64 + 1));
        }
        assert_eq!(
            text(&state),
            concat!(
                r#"{"authorizers":{"main":{"service":"web"}},"#,
                r#""limits":{"5b1f7c0e-7d1a-4f3e-9a53-0c1d2e3f4a5b":{"threshold":5}},"#,
                r#""services":{"bare":{},"web":{"match":[],"upstreams":{"a:1":{"weight":2}}},"#,
                r#""web-2":{"match":[],"upstreams":{"b:1":{}}}}}"#
            )
        );
        let empty = State::empty(Epoch(uuid::Uuid::nil()));
        assert_eq!(text(&empty), r#"{"services":{}}"#);
    }
}
