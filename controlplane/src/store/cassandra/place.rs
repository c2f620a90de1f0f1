//! Which Cassandra, which keyspace in it, and how to get in.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

const PORT: u16 = 9042;

/// Cassandra's own bound on the name of a keyspace.
const KEYSPACE_CHARS_MAX: usize = 48;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `host:port`, any of the cluster's nodes: they tell of the others.
    pub contacts: Vec<String>,
    pub keyspace: String,
    pub options: Options,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub user: Option<String>,
    /// Holds the password and perhaps a line's end; read at each connection's start.
    pub password_file: Option<PathBuf>,
    /// PEM; with it everything goes over TLS, and a node's certificate has to name its address.
    pub ca: Option<PathBuf>,
    /// The data centre whose nodes decide alone; without it those of all data centres do.
    pub dc: Option<String>,
    /// Copies of each row, in every data centre or in `dc`, if the keyspace has to be created.
    pub replication: Option<u16>,
}

/// What stands behind `cassandra://`: `h1[:9042],h2/keyspace`.
impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        let (hosts, keyspace) = text.split_once('/').ok_or("the keyspace is missing")?;
        let starts_well = keyspace.starts_with(|c: char| c.is_ascii_lowercase());
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !starts_well || !keyspace.chars().all(fits) || keyspace.len() > KEYSPACE_CHARS_MAX {
            return Err(format!(
                "{keyspace:?} is no name of a keyspace: it has up to {KEYSPACE_CHARS_MAX} of a-z, 0-9 and _, the first a letter"
            ));
        }
        let contacts = hosts.split(',').map(contact).collect::<Result<_, _>>()?;
        Ok(Place {
            contacts,
            keyspace: keyspace.to_owned(),
            options: Options::default(),
        })
    }
}

/// As `cassandra://` takes it, without the options.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cassandra://{}/{}", self.contacts.join(","), self.keyspace)
    }
}

fn contact(text: &str) -> Result<String, String> {
    let wrong = || format!("{text:?} is no host, or host:port");
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, port.parse().map_err(|_| wrong())?),
        _ => (text, PORT),
    };
    let bare = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            !host.is_empty() && host.chars().all(fits)
        }
    };
    match bare && port != 0 {
        true => Ok(format!("{host}:{port}")),
        false => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_hosts_and_a_keyspace() {
        let place: Place = "10.0.0.1,db-2.example:9142,[::1],[::1]:1/vulcan_2".parse().unwrap();
        assert_eq!(
            place.contacts,
            ["10.0.0.1:9042", "db-2.example:9142", "[::1]:9042", "[::1]:1"]
        );
        assert_eq!(place.keyspace, "vulcan_2");
        assert_eq!(
            place.to_string(),
            "cassandra://10.0.0.1:9042,db-2.example:9142,[::1]:9042,[::1]:1/vulcan_2"
        );
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in [
            "h1", "h1/", "/ks", "h1,/ks", "h1:/ks", "h1:0/ks", "h1:x/ks", "u@h1/ks", "h1/Ks", "h1/1ks", "h1/a-b",
            "h1/a/b", "::1/ks", "[::g]/ks",
        ] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }
}
