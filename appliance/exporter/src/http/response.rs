//! Responses, each complete: status, header fields, body.

use std::borrow::Cow;

/// Status of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// 200.
    Ok,
    /// 400.
    BadRequest,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 405.
    MethodNotAllowed,
    /// 431.
    HeadTooLarge,
}

impl Status {
    /// Code and reason of the status line.
    const fn line(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::BadRequest => "400 Bad Request",
            Self::Forbidden => "403 Forbidden",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::HeadTooLarge => "431 Request Header Fields Too Large",
        }
    }
}

/// A response.
#[derive(Debug)]
pub struct Response {
    /// Status.
    pub status: Status,
    /// Media type of the body.
    pub media_type: &'static str,
    /// Body.
    pub body: Cow<'static, str>,
}

/// Header fields of every response. The page gets nothing from elsewhere, and stands in no other page.
const FIELDS: &str = "Connection: close\r\n\
    Cache-Control: no-store\r\n\
    X-Content-Type-Options: nosniff\r\n\
    Referrer-Policy: no-referrer\r\n\
    Cross-Origin-Resource-Policy: same-origin\r\n\
    Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n";

impl Response {
    /// Response with a body.
    pub fn ok(media_type: &'static str, body: impl Into<Cow<'static, str>>) -> Self {
        Self { status: Status::Ok, media_type, body: body.into() }
    }

    /// Response that refuses a request, with a sentence that says why.
    pub fn refusal(status: Status, why: &str) -> Self {
        Self { status, media_type: "text/plain; charset=utf-8", body: format!("{why}\n").into() }
    }

    /// Status line and header fields.
    pub fn head(&self) -> String {
        let allowed =
            if self.status == Status::MethodNotAllowed { "Allow: GET, HEAD\r\n" } else { Default::default() };
        format!(
            "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{allowed}{FIELDS}\r\n",
            self.status.line(),
            self.media_type,
            self.body.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_says_its_length_and_ends_its_head_with_an_empty_line() {
        let head = Response::ok("text/plain", "four").head();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("\r\nContent-Length: 4\r\n"), "{head}");
        assert!(head.ends_with("\r\n\r\n"), "{head}");
    }

    #[test]
    fn a_refused_method_is_told_those_that_work() {
        assert!(
            Response::refusal(Status::MethodNotAllowed, "no").head().contains("\r\nAllow: GET, HEAD\r\n")
        );
    }
}
