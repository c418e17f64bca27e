//! What a change of subscriptions takes.

/// One topic filter or several.
pub trait IntoFilters<'a> {
    /// The filters.
    fn into_filters(self) -> Vec<&'a str>;
}

impl<'a> IntoFilters<'a> for &'a str {
    fn into_filters(self) -> Vec<&'a str> {
        vec![self]
    }
}

impl<'a> IntoFilters<'a> for &'a String {
    fn into_filters(self) -> Vec<&'a str> {
        vec![self.as_str()]
    }
}

impl<'a, T: AsRef<str>> IntoFilters<'a> for &'a [T] {
    fn into_filters(self) -> Vec<&'a str> {
        self.iter().map(AsRef::as_ref).collect()
    }
}

impl<'a, T: AsRef<str>> IntoFilters<'a> for &'a Vec<T> {
    fn into_filters(self) -> Vec<&'a str> {
        self.as_slice().into_filters()
    }
}

impl<'a, T: AsRef<str>, const N: usize> IntoFilters<'a> for &'a [T; N] {
    fn into_filters(self) -> Vec<&'a str> {
        self.as_slice().into_filters()
    }
}

impl<'a, const N: usize> IntoFilters<'a> for [&'a str; N] {
    fn into_filters(self) -> Vec<&'a str> {
        self.to_vec()
    }
}
