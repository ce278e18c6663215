//! The configuration of an appliance: the `subsystems` of its settings.

use crate::config::Config;
use luge_init::Settings;
use serde_json::json;

/// The calls that make the sled. What is no configuration is said, and makes nothing.
pub fn read(settings: &Settings) -> Config {
    let Some((place, subsystems)) = &settings.subsystems else { return Config::default() };
    let text = json!({ "subsystems": subsystems }).to_string();
    Config::parse(text.as_bytes()).unwrap_or_else(|error| {
        tracing::error!("{place}: {error}");
        Config::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn calls(subsystems: Option<Value>) -> usize {
        let subsystems = subsystems.map(|list| ("here".to_owned(), list));
        let settings = Settings { subsystems, ..Settings::default() };
        read(&settings).apply_all(|_, _| Err(luge_rpc::RpcError::busy(""))).len()
    }

    #[test]
    fn the_calls_of_the_settings_are_made_and_nonsense_makes_none() {
        assert_eq!(calls(Some(json!([{ "subsystem": "bdev", "config": [{ "method": "a" }] }]))), 1);
        assert_eq!(calls(Some(json!([7]))), 0);
        assert_eq!(calls(None), 0);
    }
}
