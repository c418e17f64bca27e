//! Names, topics and masks of the command line: what no broker takes is wrong usage, before anybody is asked.

use busway::Limits;

/// As it stands in a message: nothing is seen in quotes alone.
pub(crate) fn shown(text: &str) -> &str {
    if text.is_empty() { "''" } else { text }
}

/// The name of a client.
pub(crate) fn client(text: &str) -> Result<String, String> {
    Limits::default().check_name(text).map_err(|fault| fault.to_string())?;
    Ok(text.to_owned())
}

/// Whom something is sent to: a name, or a mask.
pub(crate) fn target(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("it is empty; give the name of a client".to_owned());
    }
    path(text, b'.')
}

/// A topic, or a filter of topics.
pub(crate) fn topic(text: &str) -> Result<String, String> {
    path(text, b'/')
}

fn path(text: &str, separator: u8) -> Result<String, String> {
    Limits::default().check_path(text.as_bytes(), separator).map_err(|fault| fault.to_string())?;
    Ok(text.to_owned())
}
