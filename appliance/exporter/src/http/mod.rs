//! A small HTTP server: one request per connection, nothing but GET and HEAD, every client bounded.
//!
//! - `request`: the head of a request, and what is refused. `host`: the names that are served.
//! - `response`: statuses, header fields. `connection`: reads and writes within time limits.
//! - `open`: the table of connections. `server`: the listener.

mod connection;
mod host;
mod open;
mod request;
mod response;
mod server;

#[cfg(test)]
mod tests;

pub use connection::{Rules, Times};
pub use host::Hosts;
pub use request::Request;
pub use response::{Response, Status};
pub use server::Server;
