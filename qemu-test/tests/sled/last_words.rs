//! Crashes of the sled: it serves again by itself, and tells its last words.

use luge_qemu_test::{Deadline, SledMachine, TestError};
use serde_json::{Value, json};

/// Last words that the firmware has kept, oldest first.
fn last_words(sled: &mut SledMachine) -> Result<Vec<Value>, TestError> {
    let kept = sled.call("luge_get_last_words", &json!({}))?;
    Ok(kept.as_array().cloned().unwrap_or_default())
}

/// Checks the cause of a crash, and that its text has these words.
fn check(crash: &Value, cause: &str, words: &[&str]) {
    assert_eq!(crash["cause"], cause, "{crash:#}");
    let text = crash["text"].as_str().unwrap_or_default();
    words.iter().for_each(|word| assert!(text.contains(word), "{word} in {text}"));
}

/// Makes Luge panic, then the kernel, by the button that servers have for that.
pub fn crash_and_tell(sled: &mut SledMachine) -> Result<(), TestError> {
    assert_eq!(last_words(sled)?.len(), 0);
    // Leaves a line in the log.
    sled.call("iobuf_set_options", &json!({}))?;
    sled.running.process.send(b"crash now\r")?;
    sled.ready()?;
    let kept = last_words(sled)?;
    assert_eq!(kept.len(), 1, "{kept:#?}");
    let events = ["luge: started: ", "luge: notice: iobuf_set_options is passed over"];
    check(&kept[0], "luge_panic", &["the console has asked for a crash"]);
    check(&kept[0], "luge_panic", &events);
    let output = &sled.running.process.output;
    assert!(output.has("has left some (1 in all): last_words shows them"), "{}", output.tail());

    sled.running.qmp.execute("inject-nmi", json!({}))?;
    output.wait_for("Kernel panic - not syncing: NMI", Deadline::within(60))?;
    sled.ready()?;
    let kept = last_words(sled)?;
    let newest = kept.last().unwrap_or(&Value::Null).clone();
    check(&newest, "kernel_panic", &["Kernel panic - not syncing: NMI", "luge: started: "]);

    sled.call("luge_delete_last_words", &json!({ "name": newest["name"] }))?;
    assert_eq!(last_words(sled)?.len(), kept.len() - 1);
    sled.call("luge_delete_last_words", &json!({}))?;
    assert_eq!(last_words(sled)?.len(), 0);
    Ok(())
}
