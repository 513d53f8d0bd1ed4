//! Message bodies to requests: whatever the arguments, no path of a request
//! leads up, and what names no path changes nothing.

use tfd::session::effect::Effect;
use tfd::store::RootPath;
use tfd::tf::request::{Request, word};

/// Takes one input.
pub fn run(data: &[u8]) {
    let parsed = Request::parse(data);
    let mut small = data.to_vec();
    let len = word(data).len();
    small[..len].make_ascii_lowercase();
    assert_eq!(Request::parse(&small), parsed);
    if let Ok(request) = parsed {
        assert!(request.subject().is_some() || request.effect() == Effect::Reads);
        for path in paths(&request) {
            assert!(path.names().all(|name| name != b".." && !name.contains(&0)));
        }
    }
}

fn paths(request: &Request) -> Vec<&RootPath> {
    use Request as R;
    match request {
        R::Mkdir { path }
        | R::Del { path }
        | R::Rmdir { path }
        | R::Touch { path }
        | R::Fstat { path }
        | R::Fupd { path }
        | R::Sndfile { path, .. }
        | R::Rcvfile { path, .. }
        | R::Ls { path }
        | R::Lsr { path }
        | R::Chmod { path, .. }
        | R::Chown { path, .. }
        | R::Sha256 { path }
        | R::Rmsecdir { path, .. }
        | R::Addntfy { path, .. }
        | R::Injail { path, .. }
        | R::Lsv2down { path }
        | R::Lsrv2down { path }
        | R::Rmkdir { path }
        | R::Tasfs { path }
        | R::NetmutacqTry { path, .. }
        | R::Netmutrel { path, .. }
        | R::Netlock { path, .. }
        | R::NetlockTry { path, .. }
        | R::Xs1Open { path }
        | R::TfdList { path, .. }
        | R::TfdSet { path, .. }
        | R::TfdLink { path, .. } => vec![path],
        R::TfdStore { what } => what.iter().map(|(_, path)| path).collect(),
        R::Lsv2 { path, file } | R::Lsrv2 { path, file } => vec![path, file],
        R::Copy { from, to } | R::Cpdir { from, to } | R::Renam { from, to } => vec![from, to],
        R::Xcopy {
            name,
            from,
            pattern,
        }
        | R::Xcpdir {
            name,
            from,
            pattern,
        } => {
            assert!(!name.is_empty() && name != b".." && !name.contains(&b'/'));
            vec![from, pattern]
        }
        R::Xdel { start, pattern } | R::Xrmdir { start, pattern } => vec![start, pattern],
        R::Put(hp) | R::Get(hp) | R::Putcan(hp) | R::Getcan(hp) => vec![&hp.path],
        R::Sdown { path }
        | R::Sup { path }
        | R::Fsize { path }
        | R::Fsizels { path }
        | R::Ftype { path }
        | R::Ftypels { path }
        | R::Fstatls { path }
        | R::Intread { path }
        | R::TfdFetch { path }
        | R::Intwrite { path } => path.iter().collect(),
        _ => Vec::new(),
    }
}
