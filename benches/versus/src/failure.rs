//! What went wrong, in words: nobody acts on a kind of failure here, a person reads it.

/// Any error.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Or what was wanted.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// Says what was being done when an error came.
pub(crate) trait Context<T> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: std::fmt::Display> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| format!("{}: {error}", what()).into())
    }
}
