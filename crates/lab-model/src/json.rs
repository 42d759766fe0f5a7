//! Small rules about JSON values that the HTTP contract and the catalog share.

/// Whether a text means "no" in the contract: `false`, `0`, `no` or `off`, trimmed, in any case.
///
/// Source: the contract's section 1.1; any other text, the empty one included, means "yes".
#[must_use]
pub fn is_false_word(text: &str) -> bool {
    matches!(
        text.trim().to_ascii_lowercase().as_str(),
        "false" | "0" | "no" | "off"
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_the_four_words_mean_no() {
        for no in ["false", " FALSE ", "0", "No", "off"] {
            assert!(super::is_false_word(no), "{no}");
        }
        for yes in ["", "true", "1", "nope", "disabled"] {
            assert!(!super::is_false_word(yes), "{yes}");
        }
    }
}
