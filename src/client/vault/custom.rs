//! What a database keeps for `tf` in its custom data, which other programs leave alone:
//! texts under names that share a prefix.

use super::database::Database;
use super::xml::Element;

impl Database {
    /// The text of a name.
    pub fn custom_text(&self, prefix: &str, name: &str) -> Option<&str> {
        let mut all = self.meta()?.child("CustomData")?.children.iter();
        let found = all.find(|it| it.text_of("Key").strip_prefix(prefix) == Some(name))?;
        Some(found.text_of("Value"))
    }

    /// Lets these be all that have the prefix.
    pub fn set_custom_texts(&mut self, prefix: &str, texts: &[(&str, &str)]) {
        self.remove_custom_texts(prefix);
        let data = self.meta_mut().child_mut("CustomData");
        for (name, text) in texts {
            let item = Element::new("Item")
                .with(Element::with_text("Key", &format!("{prefix}{name}")))
                .with(Element::with_text("Value", text));
            data.children.push(item);
        }
    }

    /// Removes all that have the prefix.
    pub fn remove_custom_texts(&mut self, prefix: &str) {
        let data = self.meta_mut().child_mut("CustomData");
        data.children
            .retain(|it| !it.text_of("Key").starts_with(prefix));
    }
}
