//! Which commands a caller may have run by name.

use std::fmt;

/// An allow list of first words. Compared exactly, upper and lower case included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedCommands(Vec<String>);

impl AllowedCommands {
    /// The list used where none is configured.
    pub const DEFAULT_LIST: &str = "prepare-session,release-session,power,session,energy,status-json,recovery,account,service,wol,status";

    /// Reads a comma separated list; blanks around the words are trimmed, empty and repeated ones dropped. An
    /// empty list allows nothing.
    pub fn parse(list: &str) -> Self {
        let mut words: Vec<String> = Vec::new();
        for word in list.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            if !words.iter().any(|known| known == word) {
                words.push(word.to_owned());
            }
        }
        Self(words)
    }

    /// True when the list has exactly this word.
    pub fn allows(&self, command: &str) -> bool {
        self.0.iter().any(|word| word == command)
    }

    /// The words, in the order given.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl Default for AllowedCommands {
    fn default() -> Self {
        Self::parse(Self::DEFAULT_LIST)
    }
}

impl fmt::Display for AllowedCommands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_list_of_the_contract() {
        let allowed = AllowedCommands::default();
        assert_eq!(allowed.iter().count(), 11);
        assert!(allowed.allows("prepare-session") && allowed.allows("wol"));
        assert!(!allowed.allows("diagnostics") && !allowed.allows("Power") && !allowed.allows(""));
        assert_eq!(allowed.to_string(), AllowedCommands::DEFAULT_LIST);
    }

    #[test]
    fn blanks_and_empty_words_are_dropped() {
        let allowed = AllowedCommands::parse(" power, ,,status-json ,power");
        assert_eq!(allowed.iter().collect::<Vec<_>>(), ["power", "status-json"]);
        assert!(!AllowedCommands::parse(" , ").allows(""));
    }
}
