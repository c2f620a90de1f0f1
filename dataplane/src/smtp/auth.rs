//! AUTH PLAIN and LOGIN (RFC 4954, RFC 4616): what is asked, and what the answers say.

use super::{Reply, replies};
use crate::http::basic;
use crate::pipeline::Credentials;
use crate::secret::Secret;

/// An answer that is waited for.
#[derive(Debug, PartialEq, Eq)]
pub enum Exchange {
    Plain,
    LoginUser,
    LoginPassword { username: String },
}

pub enum Next {
    /// After this challenge, in base64.
    Ask(&'static str, Exchange),
    Done(Credentials),
}

const USERNAME: &str = "VXNlcm5hbWU6";
const PASSWORD: &str = "UGFzc3dvcmQ6";

/// The first step. `initial`: what came with the command, `=` for nothing (RFC 4954, 4).
pub fn begin(mechanism: &str, initial: Option<&str>) -> Result<Next, Reply> {
    let (challenge, exchange) = match mechanism.to_ascii_uppercase().as_str() {
        "PLAIN" => ("", Exchange::Plain),
        "LOGIN" => (USERNAME, Exchange::LoginUser),
        _ => return Err(replies::UNKNOWN_MECHANISM),
    };
    match initial {
        None => Ok(Next::Ask(challenge, exchange)),
        Some("=") => exchange.answered(b""),
        Some(initial) => exchange.answered(initial.as_bytes()),
    }
}

impl Exchange {
    /// A line without its end; `*` takes the command back.
    pub fn answered(self, line: &[u8]) -> Result<Next, Reply> {
        if line == b"*" {
            return Err(replies::AUTH_CANCELLED);
        }
        let text = basic::decode(line).map(basic::text);
        let text = Secret::from(text.ok_or(replies::AUTH_MALFORMED)?);
        match self {
            Exchange::Plain => plain(&text).map(Next::Done),
            Exchange::LoginUser => Ok(Next::Ask(
                PASSWORD,
                Exchange::LoginPassword {
                    username: text.to_string(),
                },
            )),
            Exchange::LoginPassword { username } => Ok(Next::Done(Credentials {
                username,
                password: text,
            })),
        }
    }
}

/// `[identity] NUL username NUL password`. To act as somebody else is nobody's right here.
fn plain(text: &str) -> Result<Credentials, Reply> {
    let mut parts = text.split('\0');
    let (Some(identity), Some(username), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(replies::AUTH_MALFORMED);
    };
    if !identity.is_empty() && identity != username {
        return Err(replies::WRONG_IDENTITY);
    }
    Ok(Credentials {
        username: username.to_owned(),
        password: password.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the client sends after the command, and what comes of it.
    fn dialogue(mechanism: &str, initial: Option<&str>, answers: &[&str]) -> Result<(String, String), Reply> {
        let mut next = begin(mechanism, initial)?;
        let mut answers = answers.iter();
        loop {
            match next {
                Next::Done(credentials) => {
                    assert_eq!(answers.next(), None);
                    return Ok((credentials.username.clone(), credentials.password.to_string()));
                }
                Next::Ask(_, exchange) => next = exchange.answered(answers.next().unwrap().as_bytes())?,
            }
        }
    }

    #[test]
    fn credentials_come_in_each_of_the_ways() {
        let ok = || Ok(("user".to_owned(), "pass".to_owned()));
        assert_eq!(dialogue("PLAIN", Some("AHVzZXIAcGFzcw=="), &[]), ok());
        assert_eq!(dialogue("plain", None, &["AHVzZXIAcGFzcw=="]), ok());
        assert_eq!(dialogue("PLAIN", Some("dXNlcgB1c2VyAHBhc3M="), &[]), ok(), "as oneself");
        assert_eq!(dialogue("LOGIN", None, &["dXNlcg==", "cGFzcw=="]), ok());
        assert_eq!(dialogue("login", Some("dXNlcg=="), &["cGFzcw=="]), ok());
        let nobody = Ok((String::new(), "pass".to_owned()));
        assert_eq!(
            dialogue("LOGIN", Some("="), &["cGFzcw=="]),
            nobody,
            "whom the authorizer refuses"
        );
        assert!(matches!(
            begin("LOGIN", None),
            Ok(Next::Ask("VXNlcm5hbWU6", Exchange::LoginUser))
        ));
        assert!(matches!(begin("PLAIN", None), Ok(Next::Ask("", Exchange::Plain))));
    }

    #[test]
    fn what_cannot_be_read_is_no_failure_to_authenticate() {
        let malformed = Err(replies::AUTH_MALFORMED);
        for initial in [
            "=",
            "!!!!",
            "A",
            "dXNlcg==",
            "AHVzZXI=",
            "AHVzZXIAcGFzcwBtb3Jl",
            "AHVz*",
        ] {
            assert_eq!(dialogue("PLAIN", Some(initial), &[]), malformed, "{initial}");
        }
        assert_eq!(dialogue("LOGIN", None, &["dXNlcg==", "?"]), malformed);
        assert_eq!(dialogue("PLAIN", None, &["*"]), Err(replies::AUTH_CANCELLED));
        assert_eq!(
            dialogue("LOGIN", None, &["dXNlcg==", "*"]),
            Err(replies::AUTH_CANCELLED)
        );
        assert_eq!(dialogue("CRAM-MD5", None, &[]), Err(replies::UNKNOWN_MECHANISM));
        let other = dialogue("PLAIN", Some("b3RoZXIAdXNlcgBwYXNz"), &[]);
        assert_eq!(other, Err(replies::WRONG_IDENTITY));
    }
}
