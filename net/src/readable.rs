//! Errors that read well wherever they are shown.

/// `Debug` as `Display`: what `main` returns, and what `unwrap` panics with, are read by people. Each message holds its
/// causes.
#[macro_export]
#[doc(hidden)]
macro_rules! debug_as_display {
    ($($error:ty),+ $(,)?) => {
        $(impl ::std::fmt::Debug for $error {
            fn fmt(&self, formatter: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Display::fmt(self, formatter)
            }
        })+
    };
}
