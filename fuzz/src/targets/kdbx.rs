//! A KDBX file: whatever its header or what it encrypts holds, it is read or refused,
//! and what was read is written so that it is read again as the same.

use std::cell::RefCell;

use tfd::client::vault::database::Database;
use tfd::client::vault::kdbx::{Kdbx, header::Header, old, read_content};
use tfd::client::vault::xml::Element;

thread_local! {
    // Its key takes long to make.
    static FILE: RefCell<Kdbx> = RefCell::new(Kdbx::new(&[7; 32], Element::default()).expect("file"));
}

/// Takes one input.
pub fn run(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else {
        return;
    };
    let read = match kind % 4 {
        0 => {
            let _ = Header::read(rest);
            return;
        }
        1 => read_content(rest).map(|(_, document, attachments)| (document, attachments)),
        stream => old::read_content(stream.into(), b"key", rest),
    };
    let Ok((document, attachments)) = read else {
        return;
    };
    FILE.with_borrow_mut(|kdbx| {
        (kdbx.document, kdbx.attachments) = (document, attachments);
        let Ok(database) = Database::take_from(kdbx) else {
            return;
        };
        database.put_into(kdbx);
        let written = kdbx.to_bytes().expect("written");
        let mut again = kdbx.reopen(&written).expect("read again");
        let written = again.to_bytes().expect("written again");
        let third = again.reopen(&written).expect("read once more");
        assert!(again.document == third.document && again.attachments == third.attachments);
    });
}
