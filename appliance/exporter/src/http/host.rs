//! Host names under which the exporter is asked.

use std::net::IpAddr;

/// Host names that are served: IP addresses, `localhost` and names of the operator.
///
/// No site can give itself an IP address as its name, so an address in a request shows that no foreign page
/// sent it by a name that leads here (DNS rebinding).
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    names: Vec<String>,
}

impl Hosts {
    /// Adds names of the operator.
    #[must_use]
    pub fn with(names: &[String]) -> Self {
        Self { names: names.to_vec() }
    }

    /// Whether the value of a Host field is served.
    #[must_use]
    pub fn include(&self, value: &str) -> bool {
        let name = without_port(value.trim());
        let ours = |own: &String| own.eq_ignore_ascii_case(name);
        is_address(name) || name.eq_ignore_ascii_case("localhost") || self.names.iter().any(ours)
    }
}

/// Name without a port; an IPv6 address keeps its brackets.
fn without_port(value: &str) -> &str {
    match value.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty() => name,
        _ => value,
    }
}

fn is_address(name: &str) -> bool {
    let inside = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    match inside {
        Some(inside) => inside.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6()),
        None => name.parse::<IpAddr>().is_ok_and(|address| address.is_ipv4()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_localhost_are_served_with_any_port() {
        for value in ["127.0.0.1", "127.0.0.1:9723", "[::1]", "[::1]:80", "10.1.2.3:1", "LocalHost:9723"] {
            assert!(Hosts::default().include(value), "{value}");
        }
    }

    #[test]
    fn other_names_are_served_only_if_the_operator_says_so() {
        let hosts = Hosts::with(&["sled7.example".to_owned()]);
        assert!(hosts.include("Sled7.example:9723"));
        for value in [
            "sled8.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "",
            ":80",
            "::1:80",
            "[1.2.3.4]",
        ] {
            assert!(!hosts.include(value), "{value}");
        }
    }
}
