//! Head of an HTTP request, and what of it is served: GET and HEAD of a path, for a host that is ours.
//!
//! Not here: bodies, which are never read; connections that stay open.

use super::host::Hosts;
use super::response::{Response, Status};

/// Longest head in bytes.
pub const HEAD_BYTES_MAX: usize = 8 << 10;

/// Highest number of header fields.
const FIELDS_MAX: usize = 64;

/// Method of a request that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Header and body.
    Get,
    /// Header alone.
    Head,
}

/// Request that is served.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// Path, without a query.
    pub path: String,
}

/// Parses a head. Returns nothing while it is incomplete.
///
/// # Errors
/// Response to a request that is not served.
pub fn parse(head: &[u8], hosts: &Hosts) -> Result<Option<Request>, Response> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut parsed = httparse::Request::new(&mut fields);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(_)) => request(&parsed, hosts).map(Some),
        Ok(httparse::Status::Partial) if head.len() < HEAD_BYTES_MAX => Ok(None),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            Err(Response::refusal(Status::HeadTooLarge, "The request's header is too long."))
        }
        Err(error) => Err(Response::refusal(Status::BadRequest, &format!("This is not HTTP: {error}."))),
    }
}

fn request(parsed: &httparse::Request<'_, '_>, hosts: &Hosts) -> Result<Request, Response> {
    check_host(parsed, hosts)?;
    let method = match parsed.method {
        Some("GET") => Method::Get,
        Some("HEAD") => Method::Head,
        _ => {
            return Err(Response::refusal(
                Status::MethodNotAllowed,
                "Nothing can be changed here: only GET and HEAD are served.",
            ));
        }
    };
    let target = parsed.path.unwrap_or_default();
    if !target.starts_with('/') {
        return Err(Response::refusal(Status::BadRequest, "The request's target must be a path, from /."));
    }
    Ok(Request { method, path: target.split(['?', '#']).next().unwrap_or_default().to_owned() })
}

/// Refuses names that are not ours: a page of another site whose name leads here must not read the sled.
fn check_host(parsed: &httparse::Request<'_, '_>, hosts: &Hosts) -> Result<(), Response> {
    let named = || parsed.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("host"));
    let name = named().next().and_then(|field| std::str::from_utf8(field.value).ok());
    match name {
        Some(name) if named().count() == 1 && hosts.include(name) => Ok(()),
        Some(_) if named().count() == 1 => Err(Response::refusal(
            Status::Forbidden,
            "The exporter does not serve this host name: use its IP address, or start it with --host NAME.",
        )),
        _ => Err(Response::refusal(Status::BadRequest, "The request must have one Host field.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(head: &str) -> Result<Option<Request>, Status> {
        parse(head.as_bytes(), &Hosts::default()).map_err(|response| response.status)
    }

    fn refused(head: &str) -> Status {
        parsed(head).expect_err(head)
    }

    #[test]
    fn a_request_has_a_method_and_a_path_without_its_query() {
        let request = parsed("GET /metrics?x=/y HTTP/1.1\r\nHost: 127.0.0.1:9723\r\n\r\n").unwrap().unwrap();
        assert_eq!(request, Request { method: Method::Get, path: "/metrics".into() });
        let request = parsed("HEAD / HTTP/1.0\r\nhost: localhost\r\n\r\n").unwrap().unwrap();
        assert_eq!(request.method, Method::Head);
    }

    #[test]
    fn every_beginning_of_a_request_is_waited_for() {
        let head = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
        for end in 0..head.len() {
            assert_eq!(parsed(&head[..end]), Ok(None), "{end}");
        }
    }

    #[test]
    fn methods_that_would_change_something_are_refused() {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "get"] {
            let head = format!("{method} / HTTP/1.1\r\nHost: localhost\r\n\r\n");
            assert_eq!(refused(&head), Status::MethodNotAllowed, "{method}");
        }
    }

    #[test]
    fn names_of_others_are_refused_as_are_requests_without_one_host() {
        assert_eq!(refused("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"), Status::Forbidden);
        assert_eq!(refused("GET / HTTP/1.1\r\n\r\n"), Status::BadRequest);
        assert_eq!(
            refused("GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"),
            Status::BadRequest
        );
        assert_eq!(refused("GET / HTTP/1.1\r\nHost: \u{ff}\r\n\r\n"), Status::Forbidden);
    }

    #[test]
    fn targets_that_are_no_paths_are_refused() {
        for target in ["http://evil.example/", "*", "evil.example:443"] {
            let head = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            assert_eq!(refused(&head), Status::BadRequest, "{target}");
        }
    }

    #[test]
    fn heads_without_end_are_refused() {
        let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}", "x".repeat(HEAD_BYTES_MAX));
        assert_eq!(refused(&long), Status::HeadTooLarge);
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: x\r\n".repeat(FIELDS_MAX + 1));
        assert_eq!(refused(&many), Status::HeadTooLarge);
    }

    #[test]
    fn what_is_not_http_is_refused() {
        for text in ["\0\0\0\0", "{\"jsonrpc\": \"2.0\"}\n", "GET / HTTP/9\r\n\r\n", "\x16\x03\x01"] {
            assert_eq!(refused(text), Status::BadRequest, "{text:?}");
        }
    }
}
