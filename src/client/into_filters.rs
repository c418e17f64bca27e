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

impl<'a> IntoFilters<'a> for Vec<&'a str> {
    fn into_filters(self) -> Vec<&'a str> {
        self
    }
}

impl<'a, const N: usize> IntoFilters<'a> for [&'a str; N] {
    fn into_filters(self) -> Vec<&'a str> {
        self.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters<'a>(filters: impl IntoFilters<'a>) -> Vec<&'a str> {
        filters.into_filters()
    }

    #[test]
    fn all_forms_that_are_promised_are_taken() {
        let owned = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!((filters("a"), filters(&owned[0])), (vec!["a"], vec!["a"]));
        for taken in [filters(["a", "b"]), filters(vec!["a", "b"]), filters(&owned), filters(&owned[..])] {
            assert_eq!(taken, ["a", "b"]);
        }
    }
}
