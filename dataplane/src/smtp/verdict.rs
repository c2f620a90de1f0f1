//! What a refusal of the pipeline is to a client of SMTP (RFC 5321, 4.2; RFC 3463; RFC 4954, 6).

use std::borrow::Cow;

use super::Reply;
use super::admit::{AUTH_NEEDED, AUTH_UNAVAILABLE, WRONG_CREDENTIALS};
use crate::authorizer;
use crate::pipeline::Verdict;

/// Beside its code and what belongs to it.
const TEXT_BYTES_MAX: usize = 400;

impl Reply {
    /// What may be otherwise later is said to be so: a client then keeps the message, and tries again.
    pub fn of(verdict: &Verdict) -> Reply {
        match verdict {
            Verdict::BadRequest { detail } => Reply {
                text: line(detail),
                ..Reply::new(554, "5.6.0", "")
            },
            Verdict::Unauthorized { .. } => AUTH_NEEDED,
            Verdict::Denied => Reply::new(550, "5.7.1", "mail for this recipient is not taken from this address"),
            Verdict::Refused(reply) => refused(reply),
            Verdict::NoRoute => Reply::new(550, "5.7.1", "no service takes mail for this recipient"),
            Verdict::TooLarge { bytes_max } => Reply {
                text: Cow::Owned(format!("the message is larger than {bytes_max} bytes")),
                ..Reply::new(552, "5.3.4", "")
            },
            Verdict::QuotaExceeded { quota, .. } => Reply {
                limit: Some(quota.id),
                ..Reply::new(451, "4.7.1", "too much mail, try again later")
            },
            Verdict::TooManyInFlight { quota, .. } => Reply {
                limit: Some(quota.id),
                ..Reply::new(451, "4.7.1", "too much mail in flight, try again later")
            },
            Verdict::CostsTooMuch { quota } => Reply {
                limit: Some(quota.id),
                ..Reply::new(550, "5.7.1", "it counts for more than a limit ever permits")
            },
            Verdict::TooManyLimits => {
                Reply::new(451, "4.3.5", "more limits match than can be counted, try again later")
            }
            Verdict::RequestTimeout => Reply::new(451, "4.4.2", "the message took too long, try again later"),
            Verdict::HeadTooLarge => Reply::new(554, "5.6.0", "the envelope is too large"),
            Verdict::UpstreamFailed { .. } => Reply::new(451, "4.4.1", "the application is away, try again later"),
            Verdict::NoUpstream { .. } => {
                Reply::new(451, "4.4.1", "no application is registered and up, try again later")
            }
            Verdict::Busy => Reply::new(451, "4.4.5", "the application has enough to do, try again later"),
            Verdict::Held => Reply::new(451, "4.3.2", "the service is held, try again later"),
            Verdict::AuthorizerUnavailable { .. } => AUTH_UNAVAILABLE,
            Verdict::Draining => Reply {
                closes: true,
                ..Reply::new(421, "4.3.2", "this server is going down, try again")
            },
            Verdict::UpstreamTimeout => {
                Reply::new(451, "4.4.2", "the application did not answer in time, try again later")
            }
            Verdict::Stale => Reply::new(451, "4.4.1", "the service keeps changing, try again later"),
        }
    }

    /// Of AUTH, whose refusals have codes of their own. Whatever an authorizer refuses by, its credentials are no good.
    pub(super) fn to_auth(verdict: &Verdict) -> Reply {
        match verdict {
            Verdict::Refused(_) => WRONG_CREDENTIALS,
            Verdict::Denied => Reply::new(535, "5.7.1", "mail is not taken from this address"),
            _ => AUTH_UNAVAILABLE,
        }
    }
}

impl From<Verdict> for Reply {
    fn from(verdict: Verdict) -> Reply {
        Reply::of(&verdict)
    }
}

/// Whoever shows other credentials may do better; else nobody does.
fn refused(reply: &authorizer::Reply) -> Reply {
    match reply.status.as_u16() {
        401 | 407 => WRONG_CREDENTIALS,
        _ => Reply::new(550, "5.7.1", "refused by the authorizer"),
    }
}

fn line(text: &str) -> Cow<'static, str> {
    let mut line = String::new();
    for c in text.chars().map(|c| if c.is_ascii_graphic() { c } else { ' ' }) {
        if line.len() == TEXT_BYTES_MAX {
            break;
        }
        line.push(c);
    }
    Cow::Owned(line)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use http::StatusCode;
    use shared::model::LimitId;

    use super::*;
    use crate::pipeline::Quota;

    fn refused_by(status: u16) -> Verdict {
        Verdict::Refused(Arc::new(authorizer::Reply {
            status: StatusCode::from_u16(status).unwrap(),
            headers: Vec::new(),
            body: "no\r\n250 yes".into(),
        }))
    }

    fn all() -> Vec<(Verdict, u16, &'static str)> {
        let retry_after = Duration::from_secs(3600);
        let quota = Quota {
            id: LimitId::try_from("00000000-0000-4000-8000-000000000001").unwrap(),
            threshold: 1,
            period: 60,
        };
        let exceeded = |is_spent| Verdict::QuotaExceeded {
            quota,
            retry_after,
            is_spent,
        };
        vec![
            (
                Verdict::BadRequest {
                    detail: "a\r\nb".into(),
                },
                554,
                "5.6.0",
            ),
            (Verdict::Unauthorized { realm: "r".into() }, 530, "5.7.0"),
            (Verdict::Denied, 550, "5.7.1"),
            (refused_by(401), 535, "5.7.8"),
            (refused_by(407), 535, "5.7.8"),
            (refused_by(403), 550, "5.7.1"),
            (refused_by(302), 550, "5.7.1"),
            (Verdict::NoRoute, 550, "5.7.1"),
            (Verdict::TooLarge { bytes_max: 7 }, 552, "5.3.4"),
            (exceeded(true), 451, "4.7.1"),
            (exceeded(false), 451, "4.7.1"),
            (
                Verdict::TooManyInFlight {
                    quota,
                    most: 1,
                    retry_after,
                    is_all: true,
                },
                451,
                "4.7.1",
            ),
            (Verdict::TooManyLimits, 451, "4.3.5"),
            (Verdict::RequestTimeout, 451, "4.4.2"),
            (Verdict::HeadTooLarge, 554, "5.6.0"),
            (Verdict::UpstreamFailed { detail: "x".into() }, 451, "4.4.1"),
            (Verdict::NoUpstream { retry_after }, 451, "4.4.1"),
            (Verdict::Busy, 451, "4.4.5"),
            (Verdict::Held, 451, "4.3.2"),
            (Verdict::AuthorizerUnavailable { retry_after }, 454, "4.7.0"),
            (Verdict::Draining, 421, "4.3.2"),
            (Verdict::UpstreamTimeout, 451, "4.4.2"),
            (Verdict::Stale, 451, "4.4.1"),
        ]
    }

    #[test]
    fn every_verdict_has_its_reply() {
        for (verdict, code, enhanced) in all() {
            let reply = Reply::of(&verdict);
            assert_eq!((reply.code, reply.enhanced), (code, enhanced), "{verdict:?}");
            assert_eq!(reply.enhanced.as_bytes()[0], b'0' + (code / 100) as u8, "{verdict:?}");
            assert_eq!(reply.closes, code == 421, "{verdict:?}");
            assert!(
                !reply.text.is_empty() && !reply.text.chars().any(char::is_control),
                "{reply:?}"
            );
        }
        let long = "x".repeat(1_000);
        let long = Reply::of(&Verdict::BadRequest { detail: long.into() });
        assert_eq!(long.text.len(), 400);
    }

    #[test]
    fn auth_is_refused_or_unavailable() {
        for (verdict, ..) in all() {
            let reply = Reply::to_auth(&verdict);
            let expected = match verdict {
                Verdict::Refused(_) => (535, "5.7.8"),
                Verdict::Denied => (535, "5.7.1"),
                _ => (454, "4.7.0"),
            };
            assert_eq!((reply.code, reply.enhanced), expected, "{verdict:?}");
        }
    }
}
