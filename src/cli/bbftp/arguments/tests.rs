use super::*;

fn read(line: &str) -> Result<Arguments> {
    let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
    Arguments::of(parts(&arguments))
}

#[test]
fn letters_are_read_as_getopt_does() {
    let expected = Arguments {
        host: Some("host".to_owned()),
        user: Some("ann".to_owned()),
        manner: Manner {
            verbose: true,
            timestamps: true,
            ..Manner::default()
        },
        streams: Some(4),
        bits: Options::GZIP,
        active: Some(Some((5000, 5100))),
        ..Arguments::default()
    };
    for line in [
        "-Vtcp4 -uann -D5000:5100 host",
        "host -u ann -p 4 -tVcD5000:5100",
        "-u ann -D5000:5100 -Vt -c -p 4 -- host",
    ] {
        assert_eq!(read(line), Ok(expected.clone()), "{line}");
    }
    assert_eq!(read("-D host").expect("valid").active, Some(None));
    assert_eq!(
        read("-D host").expect("valid").host.as_deref(),
        Some("host")
    );
    assert_eq!(read("a b").expect("valid").host, None);
}

#[test]
fn long_options_take_their_value_either_way() {
    for line in [
        "--tls-pin SHA256:x --retry-wait 0.5 h",
        "--tls-pin=SHA256:x --retry-wait=0.5 h",
    ] {
        let arguments = read(line).expect("valid");
        assert!(arguments.tls.on);
        assert_eq!(arguments.tls.pin.as_deref(), Some("SHA256:x"));
        assert_eq!(arguments.retry_wait, Duration::from_millis(500));
    }
}

#[test]
fn ssh_options_turn_ssh_on() {
    for line in ["-s h", "-S h", "-E tfd h", "-L sh h", "-I / h"] {
        assert!(read(line).expect("valid").ssh.is_some(), "{line}");
    }
}

#[test]
fn each_error_has_its_number() {
    for (line, code, text) in [
        ("-p x h", 3, "Number of streams must be numeric and > 0"),
        ("-p 0 h", 3, "Number of streams must be numeric and > 0"),
        ("-r 0 h", 4, "Number of tries must be numeric > 0"),
        ("-w x h", 4, "Control port must be numeric"),
        ("-w 70000 h", 4, "Control port must be numeric"),
        ("-D9 h", 4, "Invalid port range : 9"),
        ("-D9:5 h", 4, "Invalid port range : 9:5"),
        (
            "-I /no/key h",
            5,
            "SSH identity file (/no/key) cannot be stated",
        ),
        ("-i nofile h", 7, "Input file (nofile) cannot be stated"),
    ] {
        assert_eq!(read(line), Err(Failure::end(code, text)), "{line}");
    }
    for line in [
        "-Z h",
        "-P x h",
        "-g x h",
        "-u",
        "--tls=1 h",
        "--bogus h",
        "-l x h",
    ] {
        assert_eq!(read(line).map_err(|e| e.code), Err(6), "{line}");
    }
}
