//! The XML inside a KDBX file as a tree that keeps every element and attribute,
//! known or not. It must never lose a character of a text.

use std::cmp::Ordering;

use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;
use zeroize::Zeroizing;

/// How deep elements may be nested.
const MAX_DEPTH: usize = 512;

/// An element. A text next to children is that of all pieces together.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Element {
    /// Its name.
    pub name: String,
    /// Names and values, in their order.
    pub attributes: Vec<(String, String)>,
    /// What it contains besides elements; wiped after use.
    pub text: Zeroizing<String>,
    /// The elements in it, in their order.
    pub children: Vec<Element>,
}

impl Ord for Element {
    fn cmp(&self, other: &Element) -> Ordering {
        let heads = (&self.name, &self.attributes).cmp(&(&other.name, &other.attributes));
        let texts = || self.text.as_str().cmp(other.text.as_str());
        heads
            .then_with(texts)
            .then_with(|| self.children.cmp(&other.children))
    }
}

impl PartialOrd for Element {
    fn partial_cmp(&self, other: &Element) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Element {
    /// An element without content.
    pub fn new(name: &str) -> Element {
        Element {
            name: name.to_owned(),
            ..Element::default()
        }
    }

    /// An element with a text.
    pub fn with_text(name: &str, text: &str) -> Element {
        Element {
            text: Zeroizing::new(text.to_owned()),
            ..Element::new(name)
        }
    }

    /// The same with another child.
    #[must_use]
    pub fn with(mut self, child: Element) -> Element {
        self.children.push(child);
        self
    }

    /// The first child of this name.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The same, to change it; made where it is missing.
    pub fn child_mut(&mut self, name: &str) -> &mut Element {
        let at = self.children.iter().position(|child| child.name == name);
        let at = at.unwrap_or_else(|| {
            self.children.push(Element::new(name));
            self.children.len() - 1
        });
        &mut self.children[at]
    }

    /// The children of this name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The text of the first child of this name; empty where there is none.
    pub fn text_of(&self, name: &str) -> &str {
        self.child(name).map_or("", |child| child.text.as_str())
    }

    /// Sets the text of the child of this name, which is made where it is missing.
    pub fn set_text(&mut self, name: &str, text: &str) {
        self.child_mut(name).text = Zeroizing::new(text.to_owned());
    }

    /// Removes the children of this name.
    pub fn remove(&mut self, name: &str) {
        self.children.retain(|child| child.name != name);
    }

    /// The value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Sets an attribute, or removes it.
    pub fn set_attribute(&mut self, name: &str, value: Option<&str>) {
        self.attributes.retain(|(own, _)| own != name);
        if let Some(value) = value {
            self.attributes.push((name.to_owned(), value.to_owned()));
        }
    }

    /// Whether its text is to be kept from onlookers.
    pub fn is_protected(&self) -> bool {
        self.attribute("Protected")
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// Does the same with each element, in the order in which they begin.
    pub fn for_each(
        &mut self,
        act: &mut impl FnMut(&mut Element) -> Result<(), String>,
    ) -> Result<(), String> {
        act(self)?;
        self.children
            .iter_mut()
            .try_for_each(|child| child.for_each(act))
    }

    /// The document with this root.
    pub fn to_xml(&self) -> Zeroizing<String> {
        // Text that grows would leave copies behind that nobody wipes.
        let mut out = Zeroizing::new(String::with_capacity(self.size() + 64));
        out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n");
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        out.push('<');
        out.push_str(&self.name);
        for (name, value) in &self.attributes {
            out.push(' ');
            out.push_str(name);
            out.push_str("=\"");
            escape(value, true, out);
            out.push('"');
        }
        if self.text.is_empty() && self.children.is_empty() {
            out.push_str("/>");
            return;
        }
        out.push('>');
        escape(&self.text, false, out);
        for child in &self.children {
            child.write(out);
        }
        out.push_str("</");
        out.push_str(&self.name);
        out.push('>');
    }

    /// The most bytes that it takes as a text.
    fn size(&self) -> usize {
        let attributes = self.attributes.iter();
        let attributes = attributes.map(|(name, value)| name.len() + 6 * value.len() + 4);
        let children = self.children.iter().map(Element::size);
        2 * self.name.len()
            + 6 * self.text.len()
            + 5
            + attributes.sum::<usize>()
            + children.sum::<usize>()
    }

    /// Reads a document: its root.
    ///
    /// # Errors
    /// One line: what is wrong.
    pub fn parse(xml: &str) -> Result<Element, String> {
        let wrong = |e: &dyn std::fmt::Display| format!("its XML is damaged: {e}");
        let mut reader = Reader::from_str(xml);
        // Above the root.
        let mut open = vec![Element::default()];
        loop {
            let event = reader.read_event().map_err(|e| wrong(&e))?;
            let top = open.len() - 1;
            match event {
                Event::Start(start) => {
                    if open.len() > MAX_DEPTH {
                        return Err(wrong(&"too many levels"));
                    }
                    open.push(begun(&start).map_err(|e| wrong(&e))?);
                }
                Event::Empty(start) => {
                    let element = begun(&start).map_err(|e| wrong(&e))?;
                    open[top].children.push(element);
                }
                Event::End(_) => close(&mut open).ok_or_else(|| wrong(&"an end too many"))?,
                Event::Text(text) => {
                    let text = text.xml_content(XmlVersion::Implicit1_0);
                    open[top].text.push_str(&text.map_err(|e| wrong(&e))?);
                }
                Event::CData(text) => {
                    let text = text.xml_content(XmlVersion::Implicit1_0);
                    open[top].text.push_str(&text.map_err(|e| wrong(&e))?);
                }
                Event::GeneralRef(reference) => {
                    if let Some(c) = reference.resolve_char_ref().map_err(|e| wrong(&e))? {
                        open[top].text.push(c);
                        continue;
                    }
                    let name = reference.decode().map_err(|e| wrong(&e))?;
                    let text = resolve_predefined_entity(&name);
                    open[top]
                        .text
                        .push_str(text.ok_or_else(|| wrong(&"an unknown entity"))?);
                }
                Event::Eof => break,
                Event::Decl(_) | Event::PI(_) | Event::DocType(_) | Event::Comment(_) => {}
            }
        }
        match (open.pop(), open.pop()) {
            (Some(mut above), None) if above.children.len() == 1 => {
                above.children.pop().ok_or_else(|| wrong(&"no root"))
            }
            _ => Err(wrong(&"it ends early")),
        }
    }
}

/// The element that begins so.
fn begun(start: &BytesStart<'_>) -> Result<Element, quick_xml::Error> {
    let decoder = start.decoder();
    let mut element = Element::new(&decoder.decode(start.name().as_ref())?);
    for attribute in start.attributes() {
        let attribute = attribute?;
        let value = attribute.normalized_value(XmlVersion::Implicit1_0)?;
        let name = decoder.decode(attribute.key.as_ref())?.into_owned();
        let value = value.chars().filter(|c| is_sayable(*c)).collect();
        element.attributes.push((name, value));
    }
    Ok(element)
}

/// Puts the last open element where it belongs.
fn close(open: &mut Vec<Element>) -> Option<()> {
    let mut element = open.pop()?;
    element.text.retain(is_sayable);
    if !element.children.is_empty() && element.text.trim().is_empty() {
        element.text = Zeroizing::default();
    }
    open.last_mut()?.children.push(element);
    Some(())
}

/// Whether XML has a way to say this character. One that it has not goes as a document is
/// read: if it went as that is written, what is written could mean something else.
fn is_sayable(c: char) -> bool {
    !matches!(c, '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}') || matches!(c, '\t' | '\n' | '\r')
}

/// Appends a text; in an attribute blanks other than a space are references.
fn escape(text: &str, in_attribute: bool, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\r' => out.push_str("&#13;"),
            '\t' | '\n' if in_attribute => out.push_str(&format!("&#{};", u32::from(c))),
            '\t' | '\n' => out.push(c),
            c if is_sayable(c) => out.push(c),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn unknown_elements_and_every_character_stay() {
        let xml = "<?xml version=\"1.0\"?>\n<A x=\"1\" y='a&quot;&amp;'>\n\t<B/> \
                   <C> two &lt;&#65;&gt;&amp;&#13;\n </C><Unknown><D t=\"\">x</D></Unknown><!-- - -->\n</A>";
        let read = Element::parse(xml).expect("read");
        assert_eq!(read.text_of("C"), " two <A>&\r\n ");
        assert_eq!(read.attribute("y"), Some("a\"&"));
        assert!(read.text.is_empty());
        assert_eq!(
            Element::parse(&read.to_xml()).expect("read").to_xml(),
            read.to_xml()
        );
        assert!(read.to_xml().contains("<Unknown><D t=\"\">x</D></Unknown>"));
        let lines = Element::parse("<a>one\r\ntwo\rthree</a>").expect("read");
        assert_eq!(*lines.text, "one\ntwo\nthree");
        let blank = Element::parse("<a>  </a>").expect("read");
        assert_eq!(*blank.text, "  ");
    }

    #[test]
    fn what_is_read_means_the_same_once_it_is_written() {
        let odd = "<a Protected=\"Tr\0\u{1}ue\">Pass\u{2}word</a>";
        let read = Element::parse(odd).expect("read");
        assert_eq!(read.attribute("Protected"), Some("True"));
        assert_eq!(*read.text, "Password");
        assert!(Element::parse(&read.to_xml()).is_ok_and(|again| again == read));
    }

    #[test]
    fn what_is_no_document_is_refused() {
        let deep = "<a>".repeat(2000) + &"</a>".repeat(2000);
        for xml in [
            "",
            "x",
            "<a>",
            "<a></b>",
            "</a>",
            "<a/><b/>",
            "<a>&x;</a>",
            "<a",
            &deep,
        ] {
            assert!(Element::parse(xml).is_err(), "{xml}");
        }
    }

    proptest! {
        #[test]
        fn a_text_comes_back_as_it_was(text in "[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x{fffe}\\x{ffff}]*", value in "[a-z<>&\"'\\u{e4} ]*") {
            let mut element = Element::with_text("T", &text);
            element.set_attribute("v", Some(&value));
            let read = Element::parse(&element.to_xml()).expect("read");
            prop_assert_eq!(&*read.text, &text);
            prop_assert_eq!(read.attribute("v"), Some(value.as_str()));
        }
    }
}
