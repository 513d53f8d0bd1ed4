//! Accounts, passwords, devices and codes: what the original let anybody do.

use crate::peer::*;

const CRED: (u8, &str, &str) = (8, "CRED", "INVALID_CREDENTIALS");

fn failed((number, code, text): (u8, &str, &str)) -> String {
    error(number, code, text)
}

#[test]
fn what_needs_a_login_is_refused_without_one_and_what_needs_a_device_without_that() {
    let Some(server) = server("") else { return };
    let mut peer = Peer::new(&server, Kind::G3);
    for ask in [
        "REQSYNfetch_mode%eq!FETCH_SYNC!;",
        "REQSELx;",
        "REQDELx;",
        "REQINSlocal_id%eq!1!;host%eq!x!;",
        "REQUPDhid%eq!x!;",
        "MNGDEV",
        "MNGULKcookie%eq!x!;",
        "MNGIPCmode%eq!PASSWORD_CHANGE!;",
        "MNGCPCpassword%eq!x!;code%eq!x!;",
        "MNGCADcode%eq!x!;",
        "MNGCHNnew_name%eq!x!;",
        "MNGGADdatetime%eq!0!;",
        "MNGGAA",
    ] {
        let no = failed((13, "NLGI", "NOT_LOGGED_IN"));
        peer.expect(ask, &["INFERRmsg%eq!NOT_LOGGED_IN!;", &no]);
    }
    let cookie = peer.ask("MNGCKI");
    peer.cookie = cookie.replace("DTACKIcookie%eq!", "").replace("!;", "");
    let auth = failed((34, "AUTH", "CLIENT_NOT_AUTHORIZED"));
    assert_eq!(peer.register("ann"), auth);
    assert_eq!(peer.log_in("ann", "pass"), auth);
    let answers = ["INFRETmsg%eq!LOGGED_OUT!;", "INFERRmsg%eq!NOT_LOGGED_IN!;"];
    peer.expect("MNGLGO", &answers);
}

#[test]
fn commands_of_the_operator_are_refused_and_a_hash_is_shown_to_nobody() {
    let Some(server) = server("") else { return };
    let mut peer = Peer::logged_in(&server, Kind::G2, "ann");
    for ask in [
        "MNGADMpassword%eq!x!;cookie%eq!x!;",
        "MNGNAD",
        "MNGAPR",
        "MNGAPC",
        "MNGLICmode%eq!ALL_USERS!;",
        "MNGKIKmode%eq!username!;target%eq!ann!;",
        "MNGBANip%eq!192.0.2.1!;duration%eq!1!;",
        "MNGBNA",
        "MNGBND",
        "MNGLOGSERVER",
        "MNGSHTSHUTDOWN",
        "MNGRBTREBOOT",
        "MNGPWHusername%eq!ann!;",
    ] {
        let no = failed((12, "PERM", "INSUFFICIENT_PERMISSIONS"));
        peer.expect(ask, &[&no]);
    }
}

#[test]
fn a_name_of_a_column_is_not_a_cookie_and_parameters_are_not_misread() {
    let Some(server) = server("") else { return };
    let mut peer = Peer::registered(&server, Kind::G3, "ann");
    peer.cookie = "C_cookie".to_owned();
    let none = "INFRETmsg%eq!COOKIE_DOES_NOT_EXIST!;";
    peer.expect("MNGCCKcookie%eq!C_cookie!;", &[none]);
    assert_eq!(
        peer.log_in("ann", "pass"),
        failed((23, "CDNE", "COOKIE_DOES_NOT_EXIST"))
    );
    let mut other = Peer::known(&server, Kind::G3);
    let cookie = other.cookie.clone();
    let ask = format!(
        "MNGREGcookie%eq!{cookie}!;nickname%eq!it's \"N\"!;email%eq!username@password.org!;\
         password%eq!p!;username%eq!bob!"
    );
    let answer = other.ask(&ask);
    assert_eq!(answer, "INFRETmsg%eq!SEND_VERIFICATION_ACTIVATE_ACCOUNT!;");
    for (ask, text) in [
        ("MNGVERusername%eq!x!;", "TOO_FEW_ARGUMENTS"),
        ("MNGVERusername%eq!!;code%eq!x!;", "TOO_FEW_ARGUMENTS"),
        (
            "MNGVERusername%eq!x!;code%eq!x!;more%eq!x!;",
            "TOO_MANY_ARGUMENTS",
        ),
        ("MNGVERusername", "INVALID_FORMATTING"),
    ] {
        other.expect(ask, &[&failed((15, "ICMD", text))]);
    }
}

#[test]
fn an_account_is_activated_by_its_own_code_alone() {
    let Some(server) = server("") else { return };
    let mut ann = Peer::known(&server, Kind::G3);
    let mut bob = Peer::known(&server, Kind::G3);
    ann.register("ann");
    bob.register("bob");
    assert_eq!(
        bob.register("ann"),
        failed((22, "UEXT", "USER_ALREADY_EXISTS"))
    );
    let given = code(&server, "ann");
    let no = bob.ask("MNGVERusername%eq!bob!;code%eq!PM-000000x!;");
    assert_eq!(no, failed((18, "I2FA", "INVALID_2FA_CODE")));
    let yes = ann.ask(&format!("MNGVERusername%eq!ann!;code%eq!{given}!;"));
    assert_eq!(yes, "INFRETmsg%eq!ACCOUNT_VERIFIED!;");
    assert_eq!(
        bob.log_in("bob", "pass"),
        "INFERRmsg%eq!ACCOUNT_NOT_VERIFIED!;"
    );
    let unknown = bob.ask("MNGVERusername%eq!nobody!;code%eq!PM-123456!;");
    assert_eq!(
        unknown,
        failed((21, "NCES", "NO_PASSWORD_CHANGE_SCHEDULED"))
    );
}

#[test]
fn wrong_codes_count_over_connections_and_new_codes() {
    let Some(server) = server("") else { return };
    let wrong = "MNGVERusername%eq!ann!;code%eq!PM-12345x!;";
    let resend = "MNGRTCusername%eq!ann!;email%eq!ann@example.org!;nickname%eq!N!;";
    let mut peer = Peer::known(&server, Kind::G3);
    peer.register("ann");
    peer.expect(wrong, &[&failed((18, "I2FA", "INVALID_2FA_CODE"))]);
    let mut other = Peer::known(&server, Kind::G3);
    other.expect(resend, &["INFRETmsg%eq!CODE_RESENT!;"]);
    other.expect(wrong, &[&failed((18, "I2FA", "INVALID_2FA_CODE"))]);
    let given = code(&server, "ann");
    let failed_2fa = failed((20, "F2FA", "FAILED_2FA"));
    peer.expect(wrong, &[&failed_2fa]);
    // Nor does the right one open it now.
    peer.expect(
        &format!("MNGVERusername%eq!ann!;code%eq!{given}!;"),
        &[&failed_2fa],
    );
}

#[test]
fn no_code_is_made_before_a_right_password_and_one_is_for_one_device() {
    let Some(server) = server("") else { return };
    Peer::registered(&server, Kind::G3, "ann");
    let mut thief = Peer::known(&server, Kind::G3);
    assert_eq!(thief.log_in("ann", "wrong"), failed(CRED));
    assert_eq!(
        thief.log_in("nobody", "wrong"),
        failed(CRED),
        "as of an account"
    );
    assert_eq!(operate(&server, &["codes", "--json"]).0, "[]\n");
    let mut own = Peer::known(&server, Kind::G3);
    let new = "INFRETmsg%eq!SEND_VERIFICATION_NEW_DEVICE!;";
    assert_eq!(own.log_in("ann", "pass"), new);
    let given = code(&server, "ann");
    let password = online("pass");
    let confirm = |cookie: &str, password: &str| {
        format!(
            "MNGCNDusername%eq!ann!;password%eq!{password}!;cookie%eq!{cookie}!;code%eq!{given}!;"
        )
    };
    let (theirs, ours) = (thief.cookie.clone(), own.cookie.clone());
    // A wrong password does not use the code up; another device's does not fit.
    thief.expect(&confirm(&ours, &online("wrong")), &[&failed(CRED)]);
    thief.expect(
        &confirm(&theirs, &password),
        &[&failed((18, "I2FA", "INVALID_2FA_CODE"))],
    );
    own.expect(
        &confirm(&ours, &password),
        &["INFRETmsg%eq!LOGIN_SUCCESSFUL!;"],
    );
}

#[test]
fn a_new_device_needs_no_code_where_that_is_allowed() {
    let Some(server) = server("new_device = \"allow\"") else {
        return;
    };
    Peer::registered(&server, Kind::G3, "ann");
    let mut other = Peer::known(&server, Kind::G3);
    assert_eq!(
        other.log_in("ann", "pass"),
        "INFRETmsg%eq!LOGIN_SUCCESSFUL!;"
    );
    let events = other.ask("MNGGAA");
    assert!(events.starts_with("DTALOGmode%eq$USER_REQUEST$\u{a7}msg%eq$[('LOGIN_SUCC"));
    assert!(
        events.contains("'LOGIN_FROM_NEW_DEVICE', '127.0.0.1'"),
        "{events}"
    );
    let cookie = other.cookie.clone();
    let unlink = format!("MNGULKcookie%eq!{cookie}!;");
    other.expect(&unlink, &["INFRETmsg%eq!UNLINK_SUCCESSFUL!;"]);
    other.expect(&unlink, &[&failed((16, "NFND", "NOT_FOUND"))]);
}

#[test]
fn a_flood_of_wrong_passwords_is_refused_and_the_owner_still_gets_in() {
    let Some(server) = server("") else { return };
    let mut owner = Peer::registered(&server, Kind::G3, "ann");
    assert!(owner.log_in("ann", "pass").contains("LOGIN_SUCCESSFUL"));
    let check = |password: &str| {
        let password = online(password);
        format!("MNGCCRusername%eq!bob!;password%eq!{password}!;")
    };
    Peer::registered(&server, Kind::G3, "bob");
    let mut thief = Peer::known(&server, Kind::G3);
    for _ in 0..40 {
        thief.expect(&check("wrong"), &["INFRETmsg%eq!CREDENTIAL_CHECK_FAILED!;"]);
    }
    thief.expect(&check("pass"), &["INFRETmsg%eq!CREDENTIAL_CHECK_FAILED!;"]);
    owner.expect("MNGLGO", &["INFRETmsg%eq!LOGGED_OUT!;"]);
    assert!(owner.log_in("ann", "pass").contains("LOGIN_SUCCESSFUL"));
}

#[test]
fn a_connection_is_for_one_account() {
    let Some(server) = server("new_device = \"allow\"") else {
        return;
    };
    Peer::registered(&server, Kind::G3, "bob");
    let mut peer = Peer::logged_in(&server, Kind::G3, "ann");
    peer.ask("MNGLGO");
    assert_eq!(peer.log_in("bob", "pass"), failed(CRED));
    peer.expect(
        "REQSYNfetch_mode%eq!FETCH_SYNC!;",
        &["INFERRmsg%eq!NOT_LOGGED_IN!;"],
    );
    peer.receive();
    assert!(peer.log_in("ann", "pass").contains("LOGIN_SUCCESSFUL"));
}

#[test]
fn names_and_addresses_change_as_clients_ask_for_it() {
    let Some(server) = server("") else { return };
    let mut peer = Peer::known(&server, Kind::G3);
    peer.register("ann");
    let cookie = peer.cookie.clone();
    let email = format!("MNGCEAusername%eq!ann!;cookie%eq!{cookie}!;new_email%eq!a@b.c!;");
    peer.expect(&email, &["INFRETmsg%eq!EMAIL_UPDATED!;"]);
    let given = code(&server, "ann");
    peer.ask(&format!("MNGVERusername%eq!ann!;code%eq!{given}!;"));
    peer.expect(
        &email,
        &[&failed((28, "ACCA", "ACCOUNT_ALREADY_ACTIVATED"))],
    );
    assert!(peer.log_in("ann", "pass").contains("LOGIN_SUCCESSFUL"));
    peer.expect("MNGCHNnew_name%eq!Ann!;", &["INFRETmsg%eq!NAME_CHANGED!;"]);
    let details = peer.ask("MNGGADdatetime%eq!5!;");
    assert!(
        details.starts_with("INFRETmsg%eq!AD_OUTDATED!;datetime%eq!"),
        "{details}"
    );
    assert!(
        details.ends_with("!;email%eq!a@b.c!;name%eq!Ann!;"),
        "{details}"
    );
    peer.expect(
        "MNGGADdatetime%eq!9999999999!;",
        &["INFRETmsg%eq!AD_UPTODATE!;"],
    );
}

#[test]
fn nobody_makes_an_account_where_registration_is_closed() {
    let Some(server) = server("registration = \"closed\"") else {
        return;
    };
    let mut peer = Peer::known(&server, Kind::G3);
    let no = failed((12, "PERM", "INSUFFICIENT_PERMISSIONS"));
    assert_eq!(peer.register("ann"), no);
    assert_eq!(operate(&server, &["accounts", "--json"]).0, "[]\n");
}

#[test]
fn the_fourth_request_for_another_code_of_an_inactive_account_ends_it() {
    let Some(server) = server("") else { return };
    let mut peer = Peer::known(&server, Kind::G2);
    peer.register("ann");
    let resend = "MNGRTCusername%eq!ann!;name%eq!N!;email%eq!ann@example.org!;";
    for _ in 0..3 {
        peer.expect(resend, &["INFRETtodo%eq!CODE_RESEND!;"]);
    }
    let gone = failed((29, "ADEL", "ACCOUNT_DELETED_TOO_MANY_REQUESTS"));
    peer.expect(resend, &[&gone]);
    peer.expect(resend, &[&failed((17, "SQLE", "SQL_ERROR"))]);
}
