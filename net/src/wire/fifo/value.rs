//! The value of a parameter that a person wrote.

/// What a word stands for: `true`, `false`, integers and floats are what they look like, anything else is text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// `true` or `false`.
    Truth(bool),
    /// An integer.
    Integer(i64),
    /// An integer that has no room among the signed ones.
    Unsigned(u64),
    /// A finite number.
    Float(f64),
    /// Anything else.
    Text(&'a str),
}

impl<'a> Value<'a> {
    /// Looks at a word.
    pub fn of(text: &'a str) -> Self {
        if let Ok(truth) = text.parse() {
            Self::Truth(truth)
        } else if let Ok(number) = text.parse() {
            Self::Integer(number)
        } else if let Ok(number) = text.parse() {
            Self::Unsigned(number)
        } else {
            // What Rust reads as infinite or no number may be a name.
            match text.parse::<f64>() {
                Ok(number) if number.is_finite() => Self::Float(number),
                _ => Self::Text(text),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Value;

    #[test]
    fn words_are_what_they_look_like() {
        for (text, value) in [
            ("true", Value::Truth(true)),
            ("True", Value::Text("True")),
            ("-17", Value::Integer(-17)),
            ("18446744073709551615", Value::Unsigned(u64::MAX)),
            ("1e3", Value::Float(1000.0)),
            ("nan", Value::Text("nan")),
            ("1e999", Value::Text("1e999")),
            ("", Value::Text("")),
        ] {
            assert_eq!(Value::of(text), value, "{text:?}");
        }
    }
}
