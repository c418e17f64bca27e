//! How much of everything one peer may ask for.

use super::words::has_nul;

/// Limits that the wire checks before it takes memory. `Default` gives the documented ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one payload (256 MiB).
    pub max_payload: usize,
    /// Bytes of a client name (255).
    pub max_name: usize,
    /// Bytes of a topic or mask (1024).
    pub max_path: usize,
    /// Levels of a topic or mask (128).
    pub max_levels: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_payload: 256 << 20, max_name: 255, max_path: 1024, max_levels: 128 }
    }
}

/// Why a client name is not one.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameFault {
    /// Nothing at all.
    #[error("a client name must not be empty")]
    Empty,
    /// Names with a leading dot belong to the broker.
    #[error("a client name must not start with '.'")]
    LeadingDot,
    /// A NUL would end the name early in every frame that carries it.
    #[error("a client name must not contain a NUL byte")]
    Nul,
    /// Over [`Limits::max_name`].
    #[error("a client name of {length} bytes is over the limit of {limit}")]
    TooLong {
        /// Bytes of the name.
        length: usize,
        /// What is allowed.
        limit: usize,
    },
}

crate::debug_as_display!(NameFault);

/// Why a topic, mask or target is refused.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathFault {
    /// A NUL would end it early on the wire.
    #[error("it must not contain a NUL byte")]
    Nul,
    /// Over [`Limits::max_path`].
    #[error("{length} bytes are over the limit of {limit}")]
    TooLong {
        /// Bytes of it.
        length: usize,
        /// What is allowed.
        limit: usize,
    },
    /// Over [`Limits::max_levels`].
    #[error("it has more than {limit} levels")]
    TooDeep {
        /// What is allowed.
        limit: usize,
    },
}

crate::debug_as_display!(PathFault);

impl Limits {
    /// Checks a client name.
    ///
    /// # Errors
    /// The [`NameFault`] that applies first.
    pub fn check_name(&self, name: &str) -> Result<(), NameFault> {
        if name.is_empty() {
            Err(NameFault::Empty)
        } else if name.starts_with('.') {
            Err(NameFault::LeadingDot)
        } else if name.len() > self.max_name {
            Err(NameFault::TooLong { length: name.len(), limit: self.max_name })
        } else if has_nul(name.as_bytes()) {
            Err(NameFault::Nul)
        } else {
            Ok(())
        }
    }

    /// Checks a topic or topic filter (`separator` is `/`) or a mask or target (`.`).
    ///
    /// # Errors
    /// The [`PathFault`] that applies first.
    pub fn check_path(&self, path: &[u8], separator: u8) -> Result<(), PathFault> {
        if path.len() > self.max_path {
            return Err(PathFault::TooLong { length: path.len(), limit: self.max_path });
        }
        if has_nul(path) {
            return Err(PathFault::Nul);
        }
        // What is shorter cannot have more.
        let is_short = path.len() < self.max_levels;
        if !is_short && path.iter().filter(|byte| **byte == separator).count() >= self.max_levels {
            return Err(PathFault::TooDeep { limit: self.max_levels });
        }
        Ok(())
    }

    /// The longest body that can hold a legal payload behind its names.
    pub(super) fn max_body(&self) -> usize {
        self.max_payload.saturating_add(2 * (self.max_path.max(self.max_name) + 1))
    }
}
