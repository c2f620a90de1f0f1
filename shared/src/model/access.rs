//! Which clients may use a service, by their address.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::fields::{Fields, Path, array, string};
use super::invalid::Errors;

/// Networks in each of the two lists: they are gone through for every request.
const NETS_MAX: usize = 1000;

/// A client that stands in `deny` is refused; where `allow` is not empty, everybody else than it names is, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    pub allow: Vec<IpNet>,
    pub deny: Vec<IpNet>,
}

impl Access {
    /// An IPv4-mapped address stands for the IPv4 address.
    pub fn admits(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        let is_in = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&client));
        !is_in(&self.deny) && (self.allow.is_empty() || is_in(&self.allow))
    }

    pub(super) fn read(fields: &mut Fields<'_>, errors: &mut Errors) -> Option<Access> {
        let allow = fields.read("allow", errors, Vec::new(), read_nets);
        let deny = fields.read("deny", errors, Vec::new(), read_nets);
        Some(Access {
            allow: allow?,
            deny: deny?,
        })
    }

    /// Both lists with their names.
    pub(super) fn lists(&self) -> [(&'static str, &[IpNet]); 2] {
        [("allow", &self.allow), ("deny", &self.deny)]
    }
}

pub(super) fn nets_to_json(nets: &[IpNet]) -> Value {
    nets.iter().map(|net| Value::from(net.to_string())).collect()
}

fn read_nets(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<Vec<IpNet>> {
    array(value, path, errors, NETS_MAX, read_net)
}

/// Host bits do not count: `10.1.2.3/8` is `10.0.0.0/8`. An address alone is the network of itself.
fn read_net(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<IpNet> {
    let text = string(value, path, errors)?;
    let net = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    match net {
        Ok(net) => Some(canonical(net)),
        Err(_) => {
            errors.invalid(
                path,
                "a network is expected, such as \"10.0.0.0/8\" or \"2001:db8::/32\"",
            );
            None
        }
    }
}

/// Clients are compared as IPv4 where they are, so that networks are, too.
fn canonical(net: IpNet) -> IpNet {
    let net = net.trunc();
    let (IpAddr::V4(address), 96..) = (net.addr().to_canonical(), net.prefix_len()) else {
        return net;
    };
    ipnet::Ipv4Net::new(address, net.prefix_len() - 96).map_or(net, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use crate::model::Service;

    fn admits(lists: &str, client: &str) -> bool {
        let service = Service::parse("web", &format!(r#"{{"match":[],{lists}}}"#)).unwrap();
        service.access.admits(client.parse().unwrap())
    }

    #[test]
    fn deny_wins_and_allow_is_for_nobody_else() {
        let both = r#""allow":["10.0.0.0/8","2001:db8::/32"],"deny":["10.1.0.0/16"]"#;
        assert!(admits(both, "10.2.0.1") && admits(both, "2001:db8::5"));
        assert!(admits(both, "::ffff:10.2.0.1"), "it is 10.2.0.1");
        assert!(!admits(both, "10.1.2.3") && !admits(both, "::ffff:10.1.2.3"));
        assert!(!admits(both, "11.0.0.1") && !admits(both, "2001:db9::5"));
        let deny = r#""deny":["1.2.3.4"]"#;
        assert!(admits(deny, "1.2.3.5") && !admits(deny, "1.2.3.4"));
        assert!(!admits(r#""deny":["::ffff:1.2.3.0/120"]"#, "1.2.3.4"));
        assert!(!admits(r#""deny":["::/0"]"#, "::1") && admits(r#""deny":["::/0"]"#, "1.2.3.4"));
    }

    #[test]
    fn networks_have_one_form() {
        let service = Service::parse("web", r#"{"match":[],"allow":["10.1.2.3/8","::1"],"deny":[]}"#).unwrap();
        assert_eq!(
            service.body().as_str(),
            r#"{"allow":["10.0.0.0/8","::1/128"],"match":[]}"#
        );
    }
}
