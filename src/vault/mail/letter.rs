//! The text of a mail with a code.

use lettre::Message;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use zeroize::Zeroizing;

use super::Mail;
use crate::vault::accounts::codes::Kind;

/// A mail as it is sent; why it can't be written.
pub fn write(from: &Mailbox, mail: &Mail) -> Result<Message, String> {
    let Mail {
        to,
        user,
        kind,
        code,
        minutes,
    } = mail;
    let (subject, what, otherwise) = match kind {
        Kind::Activation => (
            "Your new vault account",
            "Somebody has made the vault account",
            "If that was not you, do nothing: without this code the account is deleted.",
        ),
        Kind::Device => (
            "A new device for your vault",
            "Somebody has logged in from a new device, with your password, to the vault account",
            "If that was not you, give the code to nobody, and change your password.",
        ),
        Kind::Password => (
            "Another password for your vault",
            "Somebody who is logged in wants another password for the vault account",
            "If that was not you, give the code to nobody, and change your password.",
        ),
        Kind::Deletion => (
            "The end of your vault",
            "Somebody who is logged in wants to delete, with all its entries, the vault account",
            "If that was not you, give the code to nobody, and change your password.",
        ),
    };
    let code = std::str::from_utf8(code).unwrap_or_default();
    let text = Zeroizing::new(format!(
        "{what}\r\n    {user}\r\n\r\nType this code where your vault program asks for it:\r\n    \
         {code}\r\n\r\nIt is valid for {minutes} minutes, and there are three tries.\r\n{otherwise}\r\n"
    ));
    let to: Mailbox = to.parse().map_err(|e| format!("address: {e}"))?;
    let domain = from.email.domain();
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|e| e.to_string())?;
    let id: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    Message::builder()
        .from(from.clone())
        .to(to)
        .subject(subject)
        .date_now()
        .message_id(Some(format!("<{id}@{domain}>")))
        .header(ContentType::TEXT_PLAIN)
        .body(text.as_str().to_owned())
        .map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_short_and_the_code_is_readable_whatever_the_name() {
        let from = "Vault <vault@example.org>".parse().expect("address");
        for user in ["ann", "\u{e4}\u{20ac}", &"x".repeat(64)] {
            let mail = Mail {
                to: "ann@example.org".to_owned(),
                user: user.to_owned(),
                kind: Kind::Device,
                code: Zeroizing::new(b"PM-012345".to_vec()),
                minutes: 30,
            };
            let message = write(&from, &mail).expect("message");
            let envelope = message.envelope();
            let sender = envelope.from().expect("sender");
            assert_eq!(sender.to_string(), "vault@example.org");
            let bytes = message.formatted();
            let text = String::from_utf8(bytes).expect("text");
            assert!(text.lines().all(|line| line.len() < 998));
            assert!(text.contains("PM-012345"), "{text}");
            for header in ["Message-ID: <", "Date: ", "From: Vault <", "To: ann@"] {
                assert!(text.contains(header), "{header}: {text}");
            }
        }
    }
}
