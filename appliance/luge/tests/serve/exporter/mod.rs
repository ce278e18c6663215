//! Tests of `luge exporter`, with clients that are not ours: a browser, Prometheus and its
//! parser.

mod away;
mod browser;
mod fake_sled;
mod metrics;
mod page;
mod prometheus;
mod rig;
