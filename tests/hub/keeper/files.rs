//! Files that come and go.

use tfd::hub::wire::request::{Fil, Get, Gix, Inventory, Req};
use tfd::hub::wire::{AuditKey, Kind, Line as WireLine, Message, Purpose, Reply, Request, Value};

use super::*;

#[test]
fn a_file_that_a_keeper_has_signed_for_counts_at_the_hub_and_comes_back() {
    let Some(kept) = kept("") else { return };
    let (anna, mut line) = owner(&kept, "anna");
    let content = content(1, 3_000_000);
    let goes = kept.place(&mut line, &content);
    // The hub names the port that was free.
    let way = format!("{} bob", kept.address());
    assert!(goes.contains(&way), "{goes}");
    let mut peer = kept.dial(&anna, Purpose::Backup);
    let receipt = sent(&mut peer, &anna, &content);
    // What the keeper acknowledges lies on its disk, with its owner's signature.
    let name = name_of(&content);
    let stored = fs::read(kept.path(&anna, "d", name)).expect("stored");
    let sig = signed(&anna, name, content.len() as u64);
    assert_eq!(stored, [&content[..], &sig.0].concat());
    kept.acknowledge(&mut line, &content, receipt);
    line.notice("NFI");
    assert_eq!(code(&line.done("DBU")), 215);

    recover(&mut line);
    let mut peer = kept.dial(&anna, Purpose::Recover);
    let whole = fetch(&mut peer, &get(&content).into()).expect("file");
    assert_eq!(whole, content);
    let range = Get {
        off: Some(65_536),
        len: Some(1_048_576),
        ..get(&content)
    };
    let range = fetch(&mut peer, &range.into()).expect("range");
    assert_eq!(range, content[65_536..65_536 + 1_048_576]);
    for (off, len) in [
        (3_000_000, Some(1)),
        (3_000_001, None),
        (1, Some(3_000_000)),
    ] {
        let beyond = Get {
            off: Some(off),
            len,
            ..get(&content)
        };
        let refused = fetch(&mut peer, &beyond.into());
        assert_eq!(refused, Err(Reply::NoSuchFile));
    }
}

#[test]
fn requests_that_come_ahead_are_served_in_their_order() {
    let Some(kept) = kept("") else { return };
    let (anna, mut line) = owner(&kept, "anna");
    let contents = [content(1, 100_000), content(2, 1), content(3, 70_000)];
    for content in &contents {
        kept.store_file(&mut line, &anna, content);
    }
    recover(&mut line);
    let mut peer = kept.dial(&anna, Purpose::Recover);
    let ids: Vec<_> = contents
        .iter()
        .map(|content| peer.request(get(content)).expect("sent"))
        .collect();
    for (id, content) in ids.into_iter().zip(&contents) {
        let WireLine {
            id: Some(own),
            message: Message::Request(Request::Fil(fil)),
        } = peer.line().expect("line")
        else {
            panic!("a file");
        };
        assert_eq!((fil.r#for, fil.filename), (Some(id), name_of(content)));
        let from = Some(content.len() as u64 / 2);
        peer.answer(own, Reply::MaySend { from }).expect("sent");
        let mut rest = vec![0; content.len() - content.len() / 2];
        peer.read(&mut rest).expect("bytes");
        assert_eq!(rest, content[content.len() / 2..]);
        let receipt = Reply::FileReceived { receipt: None };
        peer.answer(own, receipt).expect("sent");
    }
}

#[test]
fn nobody_comes_in_without_a_ticket_and_the_key_that_it_names() {
    let Some(kept) = kept("") else { return };
    let (anna, mut line) = owner(&kept, "anna");
    let refused = refusal(kept.try_dial(&anna, Purpose::Backup));
    assert_eq!(refused, Reply::NoSuchUser);
    kept.place(&mut line, &content(1, 10));
    let mut impostor = Person::new("anna");
    let refused = refusal(kept.try_dial(&impostor, Purpose::Backup));
    assert_eq!(refused, Reply::PeerNotVerified);
    impostor.name = "carol".to_owned();
    let refused = refusal(kept.try_dial(&impostor, Purpose::Backup));
    assert_eq!(refused, Reply::NoSuchUser);
    // The ticket is for another purpose, and nobody is known for an emergency.
    for purpose in [Purpose::Recover, Purpose::Emergency] {
        let refused = refusal(kept.try_dial(&anna, purpose));
        assert_eq!(refused, Reply::NoSuchUser);
    }
    let late = Parties {
        time: kept.parties(&anna).time - 3600,
        ..kept.parties(&anna)
    };
    let mut peer = PeerLine::dial(&[kept.address()], &late.key).expect("dialled");
    let refused = refusal(peer.introduce(&late, Purpose::Backup, None, &anna));
    assert_eq!(refused, Reply::PeerNotVerified);
    drop(kept.dial(&anna, Purpose::Backup));
}

#[test]
fn only_the_file_that_was_announced_is_taken_and_only_its_bytes() {
    let Some(kept) = kept("") else { return };
    let (anna, mut line) = owner(&kept, "anna");
    let carol = Person::new("carol");
    let wanted = content(1, 2_500_000);
    kept.place(&mut line, &wanted);
    let mut peer = kept.dial(&anna, Purpose::Backup);
    let other = content(2, 2_500_000);
    let fil = announced(&anna, &wanted);
    let wrong = [
        announced(&anna, &other),
        Fil {
            filesize: 2_500_001,
            sig: Some(signed(&anna, fil.filename, 2_500_001)),
            ..fil.clone()
        },
        Fil {
            sig: None,
            ..fil.clone()
        },
        Fil {
            sig: Some(signed(&carol, fil.filename, fil.filesize)),
            ..fil.clone()
        },
        Fil {
            kind: Some(Kind::Index),
            ..fil.clone()
        },
        Fil {
            owner: Some(carol.user()),
            ..fil.clone()
        },
    ];
    for wrong in wrong {
        let reply = send(&mut peer, &wrong, &[]).expect("reply");
        assert_eq!(reply, Reply::NotMine, "{wrong:?}");
    }
    // Bytes that are not what the name says leave nothing behind.
    let reply = send(&mut peer, &fil, &other).expect("reply");
    assert_eq!(reply, Reply::NoSuchFile);
    assert_eq!(
        fs::read_dir(kept.files().join("part"))
            .expect("parts")
            .count(),
        0
    );
    let receipt = sent(&mut peer, &anna, &wanted);
    kept.acknowledge(&mut line, &wanted, receipt);
    // The ticket was for one file, and is used.
    let again = send(&mut peer, &fil, &wanted).expect("reply");
    assert_eq!(again, Reply::NotMine);
}

#[test]
fn a_cut_upload_goes_on_where_it_was_cut() {
    let Some(kept) = kept("") else { return };
    let (anna, mut line) = owner(&kept, "anna");
    let content = content(1, 5_000_000);
    kept.place(&mut line, &content);
    let mut peer = kept.dial(&anna, Purpose::Backup);
    let id = peer.request(announced(&anna, &content)).expect("sent");
    let reply = peer.reply(id).expect("reply");
    assert_eq!(reply, Reply::MaySend { from: Some(0) });
    peer.write(&mut content[..3_500_000].to_vec())
        .expect("sent");
    let parts = kept.files().join("part");
    let len = || {
        let entries = fs::read_dir(&parts).expect("parts").flatten();
        entries
            .map(|it| it.metadata().map_or(0, |it| it.len()))
            .sum::<u64>()
    };
    wait_until("the bytes are there", || len() == 3_500_000);
    drop(peer);
    let mut peer = kept.dial(&anna, Purpose::Backup);
    let id = peer.request(announced(&anna, &content)).expect("sent");
    let from = match peer.reply(id).expect("reply") {
        Reply::MaySend { from: Some(from) } => from as usize,
        reply => panic!("{reply:?}"),
    };
    assert_eq!(from, 3 << 20);
    peer.write(&mut content[from..].to_vec()).expect("sent");
    match peer.reply(id).expect("reply") {
        Reply::FileReceived {
            receipt: Some(receipt),
        } => kept.acknowledge(&mut line, &content, receipt),
        reply => panic!("{reply:?}"),
    }
    let stored = fs::read(kept.path(&anna, "d", name_of(&content))).expect("stored");
    assert_eq!(stored[..content.len()], content);
}

#[test]
fn files_of_others_are_not_handed_out() {
    let Some(kept) = kept("") else { return };
    let (anna, mut line) = owner(&kept, "anna");
    let (carol, mut hers) = owner(&kept, "carol");
    let (his, her) = (content(1, 1000), content(2, 1000));
    kept.store_file(&mut line, &anna, &his);
    kept.store_file(&mut hers, &carol, &her);
    recover(&mut line);
    let mut peer = kept.dial(&anna, Purpose::Recover);
    let refused = fetch(&mut peer, &get(&her).into());
    assert_eq!(refused, Err(Reply::NotMine));
    let nothing = fetch(&mut peer, &get(&content(3, 1000)).into());
    assert_eq!(nothing, Err(Reply::NoSuchFile));
    let req = Req::new(name_of(&her), AuditKey::Full([1; 32]));
    let id = peer.request(req).expect("sent");
    assert_eq!(peer.reply(id).expect("reply"), Reply::NotMine);
    let id = peer.request(Inventory::new(carol.user())).expect("sent");
    assert_eq!(peer.reply(id).expect("reply"), Reply::NoSuchFile);
    let gix = Gix {
        name: Some(name_of(&her)),
        ..Gix::new(carol.user())
    };
    assert_eq!(fetch(&mut peer, &gix.into()), Err(Reply::NoSuchFile));
    assert_eq!(fetch(&mut peer, &get(&his).into()), Ok(his));
}

#[test]
fn an_owner_finds_what_it_has_there_without_the_hub() {
    let Some(mut kept) = kept("") else { return };
    let (anna, mut line) = owner(&kept, "anna");
    let pack = content(1, 5000);
    kept.store_file(&mut line, &anna, &pack);
    let (old, new) = (content(2, 300), content(3, 400));
    for snapshot in [&old, &new] {
        let (name, size) = (name_of(snapshot).text(), snapshot.len());
        let goes = line.done(&format!("PIX {name} {size} 1 kind=snapshot"));
        assert!(goes.starts_with("DST"), "{goes}");
        let mut peer = kept.dial(&anna, Purpose::Backup);
        sent(&mut peer, &anna, snapshot);
        // The newest one is told by seconds.
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
    drop(line);
    kept.hub.signal(nix::sys::signal::Signal::SIGKILL);
    kept.hub.wait_for_end();
    let mut peer = kept.dial(&anna, Purpose::Emergency);
    let all = listed(&mut peer, Inventory::new(anna.user()));
    assert_eq!(all.len(), 3, "{all:?}");
    let snapshots = listed(
        &mut peer,
        Inventory {
            kind: Some(tfd::hub::wire::Kinds::Only(Kind::Snapshot)),
            ..Inventory::new(anna.user())
        },
    );
    assert_eq!(snapshots.len(), 2);
    assert!(
        snapshots
            .iter()
            .all(|it| it.contains("kind=snapshot") && it.contains("state=live"))
    );
    let newest = fetch(&mut peer, &Gix::new(anna.user()).into());
    assert_eq!(newest, Ok(new));
    assert_eq!(fetch(&mut peer, &get(&pack).into()), Ok(pack));
    // A stranger of that name is none.
    let refused = refusal(kept.try_dial(&Person::new("anna"), Purpose::Emergency));
    assert_eq!(refused, Reply::PeerNotVerified);
}

/// The lines of a list, which count down.
#[track_caller]
fn listed(peer: &mut PeerLine, request: Inventory) -> Vec<String> {
    let id = peer.request(request).expect("sent");
    let Reply::FilesExist {
        number: Some(number),
    } = peer.reply(id).expect("reply")
    else {
        panic!("a list");
    };
    let mut all = Vec::new();
    for left in (1..=number).rev() {
        let line = peer.line().expect("line");
        let text = line.print();
        let Message::Request(Request::Idx(idx)) = line.message else {
            panic!("{text}");
        };
        assert_eq!((line.id, idx.number), (Some(id), left));
        all.push(text);
    }
    all
}

#[test]
fn a_full_disk_refuses_files_and_keeps_those_it_has() {
    let Some(disk) = crate::common::disk::SmallDisk::mount(16) else {
        return;
    };
    let Some(kept) = kept_with(&Different {
        above: Some(disk.path().to_owned()),
        ..Different::default()
    }) else {
        return;
    };
    let (anna, mut line) = owner(&kept, "anna");
    let first = content(1, 6_000_000);
    kept.store_file(&mut line, &anna, &first);
    // The disk has less than that left: the keeper does not even want it.
    let second = content(2, 12_000_000);
    let reply = kept.place(&mut line, &second);
    assert_eq!(code(&reply), 406, "{reply}");
    // It seems to fit, and others fill the disk meanwhile.
    let third = content(3, 4_000_000);
    let goes = kept.place(&mut line, &third);
    assert!(goes.starts_with("DST"), "{goes}");
    let mut peer = kept.dial(&anna, Purpose::Backup);
    let filler = disk.path().join("filler");
    let _ = fs::write(&filler, vec![1; 16 << 20]);
    let reply = send(&mut peer, &announced(&anna, &third), &third).expect("reply");
    assert_eq!(reply, Reply::NoSpace { hub: None });
    fs::remove_file(filler).expect("removed");
    let receipt = sent(&mut peer, &anna, &third);
    kept.acknowledge(&mut line, &third, receipt);
    recover(&mut line);
    let mut peer = kept.dial(&anna, Purpose::Recover);
    assert_eq!(fetch(&mut peer, &get(&first).into()), Ok(first));
    assert_eq!(fetch(&mut peer, &get(&third).into()), Ok(third));
}
