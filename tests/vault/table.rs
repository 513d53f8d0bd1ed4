//! Every command and what is wrong with it, in the three generations: a table.

use crate::peer::*;

/// What a client hears that is not logged in: two packets.
const IN_FIRST: &[&str] = &[
    "REQINSlocal_id%eq!1!;host%eq!h!;",
    "REQUPDhid%eq!h!;",
    "REQSELh;",
    "REQDELh;",
    "REQSYNfetch_mode%eq!FETCH_SYNC!",
    "REQSYNfetch_mode%eq!FETCH_ALL!;",
    "MNGDEV",
    "MNGULKcookie%eq!c!;",
    "MNGIPCmode%eq!PASSWORD_CHANGE!;",
    "MNGIADmode%eq!DELETE_ACCOUNT!;",
    "MNGIACmode%eq!DELETE_ACCOUNT!;",
    "MNGACRPWCmode%eq!PASSWORD_CHANGE!;",
    "MNGACRDELmode%eq!DELETE_ACCOUNT!;",
    "MNGCPCpassword%eq!p!;code%eq!c!;",
    "MNGCADcode%eq!c!;",
    "MNGDELcode%eq!c!;",
    "MNGCHNnew_name%eq!n!;",
    "MNGGADdatetime%eq!0!;",
    "MNGGAA",
];

type Failed = (u8, &'static str, &'static str);

const TOO_FEW: Failed = (15, "ICMD", "TOO_FEW_ARGUMENTS");
const TOO_MANY: Failed = (15, "ICMD", "TOO_MANY_ARGUMENTS");
const FORMATTING: Failed = (15, "ICMD", "INVALID_FORMATTING");
const MODE: Failed = (15, "ICMD", "INVALID_MODE");
const PARAMETERS: Failed = (9, "ISQP", "INVALID_SQL_QUERY_PARAMETERS");
const CREDENTIALS: Failed = (8, "CRED", "INVALID_CREDENTIALS");
const NO_COOKIE: Failed = (23, "CDNE", "COOKIE_DOES_NOT_EXIST");
const NO_CODE: Failed = (21, "NCES", "NO_CODE_EVENT_SCHEDULED");
const FORBIDDEN: Failed = (12, "PERM", "INSUFFICIENT_PERMISSIONS");
const NO_PASSWORD_CODE: Failed = (21, "NCES", "NO_PASSWORD_CHANGE_SCHEDULED");

/// Who asks, what, and what is wrong with it.
const BEFORE: &[(&str, Failed)] = &[
    ("KEXACKnonce%eq!!;", TOO_FEW),
    ("KEXACK", TOO_FEW),
    ("MNGCCK", TOO_FEW),
    ("MNGCCKcookie%eq!!;", TOO_FEW),
    ("MNGCCKother%eq!x!;", TOO_MANY),
    ("MNGCCKcookie%eqx;", FORMATTING),
    ("MNGATHcookie%eq!c!;", TOO_FEW),
    ("MNGREGusername%eq!u!;", TOO_FEW),
    ("MNGREGname%eq!u!;", TOO_MANY),
    (
        "MNGREGusername%eq!u!;password%eq!p!;email%eq!u@x!;nickname%eq!n!;cookie%eq!none!;",
        NO_COOKIE,
    ),
    (
        "MNGREGusername%eq!u u!;password%eq!p!;email%eq!u@x!;nickname%eq!n!;cookie%eq!none!;",
        FORBIDDEN,
    ),
    (
        "MNGREGusername%eq!u!;password%eq!p!;email%eq!nothing!;nickname%eq!n!;cookie%eq!none!;",
        FORBIDDEN,
    ),
    ("MNGVERusername%eq!ann!;", TOO_FEW),
    ("MNGVERusername%eq!ann!;code%eq!PM-1!;", NO_PASSWORD_CODE),
    ("MNGVERusername%eq!no!;code%eq!PM-1!;", NO_PASSWORD_CODE),
    ("MNGLGIusername%eq!u!;password%eq!p!;", TOO_FEW),
    (
        "MNGLGIusername%eq!u!;password%eq!p!;cookie%eq!c!;code%eq!c!;",
        TOO_MANY,
    ),
    (
        "MNGLGIusername%eq!no!;password%eq!p!;cookie%eq!c!;",
        CREDENTIALS,
    ),
    (
        "MNGLGIusername%eq!ann!;password%eq!p!;cookie%eq!c!;",
        CREDENTIALS,
    ),
    ("MNGCNDusername%eq!u!;password%eq!p!;cookie%eq!c!;", TOO_FEW),
    (
        "MNGCNDusername%eq!no!;password%eq!p!;cookie%eq!c!;code%eq!PM-1!;",
        CREDENTIALS,
    ),
    ("MNGCCRusername%eq!u!;", TOO_FEW),
    ("MNGCEAusername%eq!u!;", TOO_FEW),
    (
        "MNGCEAusername%eq!no!;cookie%eq!c!;new_email%eq!a@b!;",
        FORBIDDEN,
    ),
    (
        "MNGCEAusername%eq!ann!;cookie%eq!c!;new_email%eq!a@b!;",
        FORBIDDEN,
    ),
    ("MNGRTCusername%eq!u!;", TOO_FEW),
    (
        "MNGRTCusername%eq!no!;email%eq!a@b!;",
        (17, "SQLE", "SQL_ERROR"),
    ),
    (
        "MNGRTCusername%eq!ann!;email%eq!ann@example.org!;name%eq!n!;",
        NO_CODE,
    ),
    ("MNGADMpassword%eq!p!;cookie%eq!c!;", FORBIDDEN),
    ("MNGNADpassword%eq!p!;cookie%eq!c!;code%eq!c!;", FORBIDDEN),
    ("MNGAPR", FORBIDDEN),
    ("MNGAPCpassword%eq!p!;code%eq!c!;", FORBIDDEN),
    ("MNGLICmode%eq!ALL_USERS!;", FORBIDDEN),
    ("MNGKIKmode%eq!username!;target%eq!ann!;", FORBIDDEN),
    ("MNGBANip%eq!192.0.2.1!;duration%eq!1!;", FORBIDDEN),
    ("MNGBNAusername%eq!ann!;duration%eq!1!;", FORBIDDEN),
    ("MNGBNDcookie%eq!c!;duration%eq!1!;", FORBIDDEN),
    ("MNGLOGmode%eq!SERVER!;", FORBIDDEN),
    ("MNGSHTSHUTDOWN", FORBIDDEN),
    ("MNGRBTREBOOT", FORBIDDEN),
    ("MNGPWHusername%eq!ann!;", FORBIDDEN),
];

const INSIDE: &[(&str, Failed)] = &[
    ("REQUPDhost%eq!x!;", (0, "UNKN", "HID is None")),
    ("REQSEL", PARAMETERS),
    ("REQSEL;;", PARAMETERS),
    ("REQDEL", PARAMETERS),
    ("REQSYN", PARAMETERS),
    ("REQSYNfetch_mode%eq!NONE!;", (9, "ISQP", "INVALID_MODE")),
    ("REQSYNother%eq!x!;", PARAMETERS),
    ("MNGULK", TOO_FEW),
    ("MNGULKcookie%eq!none!;", (16, "NFND", "NOT_FOUND")),
    ("MNGIPC", MODE),
    ("MNGIPCmode%eq!OTHER!;", MODE),
    ("MNGIADmode%eq!OTHER!;", MODE),
    ("MNGACRPWCmode%eq!OTHER!;", MODE),
    ("MNGCPCpassword%eq!p!;", TOO_FEW),
    ("MNGCPCpassword%eq!p!;code%eq!PM-1!;", NO_PASSWORD_CODE),
    ("MNGCAD", TOO_FEW),
    (
        "MNGCADcode%eq!PM-1!;",
        (21, "NCES", "ACCOUNT_DELETION_NOT_SCHEDULED"),
    ),
    ("MNGCHN", TOO_FEW),
    ("MNGGAD", TOO_FEW),
    ("MNGGADdatetime%eq!soon!;", FORMATTING),
];

/// Inserts that lack something; the first generation has its local id elsewhere.
const INSERTS: &[(&str, Failed)] = &[
    ("other%eq!x!;", PARAMETERS),
    ("host%eq!x!;", (33, "SQLX", "NOT NULL constraint failed")),
    (
        "password%eq!x!;datetime%eq!1!;",
        (33, "SQLX", "NOT NULL constraint failed"),
    ),
];

#[test]
fn every_command_says_what_is_wrong_with_it_in_three_generations() {
    let lines = "dialects = [\"G1\", \"G2\", \"G3\"]";
    let keys = "control = \"control\"\nlogin_failures = 1000";
    let Some(server) = server_with(keys, lines, true) else {
        return;
    };
    Peer::registered(&server, Kind::G3, "ann");
    for (kind, user) in [(Kind::G1, "one"), (Kind::G2, "two"), (Kind::G3, "three")] {
        let mut peer = Peer::known(&server, kind);
        for ask in IN_FIRST {
            let word = match kind {
                Kind::G1 | Kind::G2 => "INFERRNOT_LOGGED_IN",
                _ => "INFERRmsg%eq!NOT_LOGGED_IN!;",
            };
            let ask = match kind {
                Kind::G1 => format!("{ask}\u{1f}1"),
                _ => (*ask).to_owned(),
            };
            let is_entry = ask.starts_with("REQINS") || ask.starts_with("REQUPD");
            let ask = if is_entry {
                ask
            } else {
                ask.replace("\u{1f}1", "")
            };
            peer.expect(&ask, &[word, &error(13, "NLGI", "NOT_LOGGED_IN")]);
        }
        for (ask, (number, code, text)) in BEFORE {
            peer.expect(ask, &[&error(*number, code, text)]);
        }
        let mut peer = Peer::logged_in(&server, kind, user);
        for (ask, (number, code, text)) in INSIDE {
            let ask = match kind {
                Kind::G1 if ask.starts_with("REQUPD") => format!("{ask}\u{1f}1"),
                _ => (*ask).to_owned(),
            };
            peer.expect(&ask, &[&error(*number, code, text)]);
        }
        for (values, (number, code, text)) in INSERTS {
            let ask = match kind {
                Kind::G1 => format!("REQINS{values}\u{1f}1"),
                _ => format!("REQINSlocal_id%eq!1!;{values}"),
            };
            peer.expect(&ask, &[&error(*number, code, text)]);
        }
        peer.expect_alive();
    }
}
