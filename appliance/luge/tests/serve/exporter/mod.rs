//! Tests of `luge exporter`, with clients that are not ours: a browser, and Prometheus' own parser.

mod away;
mod browser;
mod fake_sled;
mod metrics;
mod page;
mod rig;
