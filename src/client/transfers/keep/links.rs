//! Symbolic links, and further names of files: made when the files are in place.

use std::sync::Arc;

use super::directories::{Here, set_there};
use crate::client::error::Result;
use crate::client::extension::{Attributes, hard_link, symbolic_link};
use crate::client::transfers::local::Target;
use crate::client::transfers::requests::done;
use crate::client::transfers::run::{Id, Line, Run};

/// What a name is made of.
pub(in crate::client::transfers) enum Of {
    /// A symbolic link that leads there.
    Target(Vec<u8>),
    /// The file of another name, a path as that of the link is one.
    Name(Vec<u8>),
}

/// A link that is to be made on the server, at the path of its `id`.
pub(in crate::client::transfers) struct UpLink {
    pub(in crate::client::transfers) id: Id,
    pub(in crate::client::transfers) of: Of,
    pub(in crate::client::transfers) wanted: Attributes,
}

/// A link that is to be made here.
pub(in crate::client::transfers) struct DownLink {
    pub(in crate::client::transfers) id: Id,
    pub(in crate::client::transfers) place: Here,
    pub(in crate::client::transfers) of: Of,
}

/// Makes links on the server.
///
/// # Errors
/// The connection is lost.
pub(in crate::client::transfers) fn make_there(
    run: &Run<'_>,
    line: &mut Line<'_>,
    links: &[UpLink],
) -> Result<()> {
    let asked = |link: &UpLink| match &link.of {
        Of::Target(target) => symbolic_link(target, &link.id.name),
        Of::Name(name) => hard_link(name, &link.id.name),
    };
    let replies = line.ask_each(links, asked, done)?;
    let mut made = Vec::new();
    for (link, reply) in links.iter().zip(replies) {
        match reply {
            Ok(()) => {
                run.done(&link.id, 0);
                if let Of::Target(_) = link.of {
                    made.push((link.id.name.clone(), link.wanted.clone()));
                }
            }
            Err(e) => run.failed(&link.id, e),
        }
    }
    set_there(run, line, &made)
}

/// Makes links here.
pub(in crate::client::transfers) fn make_here(run: &Run<'_>, links: &[DownLink]) {
    for link in links {
        let (target, relative, wanted): (&Arc<Target>, _, _) =
            (&link.place.0, &link.place.1, &link.place.2);
        let made = match &link.of {
            Of::Target(leads_to) => target.make_link(relative, leads_to, wanted),
            Of::Name(name) => target.make_name(relative, name),
        };
        match made {
            Ok(()) => run.done(&link.id, 0),
            Err(e) => run.failed(&link.id, e),
        }
    }
}
