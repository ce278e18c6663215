//! `luge_get_last_words`, `luge_delete_last_words`: crashes of the sled that its firmware has kept.
//!
//! Calls read the firmware's records anew, on the client's thread: nothing else waits for the firmware.

use super::definition::ANY;
use crate::control::Control;
use crate::trace::rfc3339;
use luge_init::{Crash, CrashCause, crashes, remove_crash};
use luge_rpc::{Method, NoParams, RpcError, params};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;

params! {
    /// Parameters of `luge_delete_last_words`.
    struct Delete {
        /// Name, as in luge_get_last_words; all if not given
        name: Option<String>,
    }
}

/// Crash, as clients see it.
#[derive(Serialize)]
struct LastWords {
    name: String,
    cause: &'static str,
    time: String,
    text: String,
}

impl From<Crash> for LastWords {
    fn from(crash: Crash) -> Self {
        let time_ns = u64::try_from(crash.time.as_nanos()).unwrap_or(u64::MAX);
        let Crash { name, cause, text, .. } = crash;
        Self { name, cause: cause_name(cause), time: rfc3339(time_ns), text }
    }
}

pub fn methods(control: &Arc<Control>) -> Vec<Method> {
    let (read, delete) = (control.clone(), control.clone());
    vec![
        Method::new(
            "luge_get_last_words",
            "Show what crashes of this sled have left",
            ANY,
            move |_: NoParams| {
                let kept = all(&read)?.into_iter().map(LastWords::from);
                Ok(kept.collect::<Vec<_>>())
            },
        ),
        Method::new(
            "luge_delete_last_words",
            "Remove what crashes of this sled have left",
            ANY,
            move |params: Delete| remove(&delete, params.name.as_deref()),
        ),
    ]
}

fn all(control: &Control) -> Result<Vec<Crash>, RpcError> {
    crashes(folder(control)?).map_err(RpcError::internal)
}

fn remove(control: &Control, name: Option<&str>) -> Result<bool, RpcError> {
    let (folder, mut crashes) = (folder(control)?, all(control)?);
    if let Some(name) = name {
        crashes.retain(|crash| crash.name == name);
        if crashes.is_empty() {
            return Err(RpcError::no_file(format_args!(
                "there are no last words {name}: luge_get_last_words lists them"
            )));
        }
    }
    let removed = crashes.iter().try_for_each(|crash| remove_crash(folder, crash));
    removed.map(|()| true).map_err(RpcError::internal)
}

fn folder(control: &Control) -> Result<&PathBuf, RpcError> {
    control.platform().last_words.as_ref().ok_or_else(|| {
        RpcError::unsupported(
            "only a sled keeps last words: of a daemon, the trace has them (luge serve --trace, luge trace)",
        )
    })
}

const fn cause_name(cause: CrashCause) -> &'static str {
    match cause {
        CrashCause::Luge => "luge_panic",
        CrashCause::Kernel => "kernel_panic",
        CrashCause::Oops => "kernel_oops",
        CrashCause::Unknown => "unknown",
    }
}
