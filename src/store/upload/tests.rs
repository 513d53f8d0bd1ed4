use super::*;
use crate::store::Policy;
use std::fs;

fn path(text: &str) -> RootPath {
    RootPath::parse(text.as_bytes(), &Policy::NONE).expect("allowed")
}

#[test]
fn an_upload_is_seen_when_it_is_whole_and_never_after_a_failure() {
    let dir = tempfile::tempdir().expect("tempdir");
    let root = Root::open(dir.path()).expect("root");
    fs::write(dir.path().join("f"), "old").expect("write");
    let mut upload = Upload::begin(&root, &path("f"), true, 0o644, Quota::none()).expect("begin");
    upload.write(b"new").expect("write");
    assert_eq!(fs::read(dir.path().join("f")).expect("read"), b"old");
    drop(upload);
    assert_eq!(fs::read_dir(dir.path()).expect("dir").count(), 1);
    let mut upload = Upload::begin(&root, &path("f"), true, 0o644, Quota::none()).expect("begin");
    upload.write(b"new").expect("write");
    upload.commit(true).expect("commit");
    assert_eq!(fs::read(dir.path().join("f")).expect("read"), b"new");
    assert_eq!(fs::read_dir(dir.path()).expect("dir").count(), 1);
}

#[test]
fn an_upload_that_goes_to_disk_meanwhile_is_as_whole() {
    let dir = tempfile::tempdir().expect("tempdir");
    let root = Root::open(dir.path()).expect("root");
    let begun = Upload::begin(&root, &path("f"), false, 0o644, Quota::none());
    let mut upload = begun.expect("begin").with_write_behind(true);
    let content: Vec<u8> = (0..20_000_000_u32).map(|i| (i >> 7) as u8).collect();
    for piece in content.chunks(300_000) {
        upload.write(piece).expect("write");
    }
    upload.commit(true).expect("commit");
    assert!(fs::read(dir.path().join("f")).expect("read") == content);
}

#[test]
fn many_write_at_their_offsets_and_mode_and_times_are_there_with_the_file() {
    use std::os::unix::fs::{FileExt, MetadataExt};
    let dir = tempfile::tempdir().expect("tempdir");
    let (root, name) = (Root::open(dir.path()).expect("root"), dir.path().join("f"));
    let begin = || Upload::begin(&root, &path("f"), true, 0o644, Quota::none());
    let mut upload = begin().expect("begin");
    upload.extend_to(300_000).expect("extend");
    let file = fs::File::from(upload.part().try_clone_to_owned().expect("handle"));
    std::thread::scope(|scope| {
        for writer in 0..3_u8 {
            let file = &file;
            let at = u64::from(writer) * 100_000;
            scope.spawn(move || file.write_all_at(&[writer; 100_000], at));
        }
    });
    upload.set_times(86_400, 172_800).expect("times");
    upload.set_mode(0o106_640).expect("mode");
    upload.commit(false).expect("commit");
    let stat = fs::metadata(&name).expect("stat");
    assert_eq!((stat.atime(), stat.mtime()), (86_400, 172_800));
    assert_eq!(stat.mode(), 0o100_640);
    let content = fs::read(&name).expect("read");
    assert!(
        content
            .chunks(100_000)
            .zip(0..)
            .all(|(part, at)| part == [at; 100_000])
    );

    let mut upload = begin().expect("begin");
    upload.extend_to(u64::MAX).expect_err("too long");
    drop(upload);
    assert_eq!(fs::metadata(&name).expect("stat").len(), 300_000);
    assert_eq!(fs::read_dir(dir.path()).expect("dir").count(), 1);
}

#[test]
fn a_lasting_upload_begins_with_what_an_earlier_one_has_left() {
    let dir = tempfile::tempdir().expect("tempdir");
    let root = Root::open(dir.path()).expect("root");
    let begin = |length, afresh| {
        let lasting = Lasting {
            account: b"ann",
            length,
            afresh,
        };
        let how = (true, 0o644);
        Upload::begin_lasting(&root, &path("f"), how, Quota::none(), &lasting).expect("begin")
    };
    let fill = |upload: &Upload, byte: u8| {
        let content = [byte; 4096];
        rustix::io::pwrite(upload.part(), &content, 0).expect("write");
    };
    let first = |upload: &Upload| {
        let mut byte = [0xff];
        rustix::io::pread(upload.part(), &mut byte, 0).expect("read");
        byte[0]
    };
    let upload = begin(8192, false);
    fill(&upload, 1);
    upload.leave();
    let upload = begin(8192, false);
    assert_eq!(first(&upload), 1);
    upload.leave();
    assert_eq!(first(&begin(8192, true)), 0, "thrown away");
    let upload = begin(8192, false);
    assert_eq!(first(&upload), 0, "one that is not left is gone");
    fill(&upload, 2);
    let other = begin(8192, false);
    assert_eq!(first(&other), 0, "while one goes on, another has its own");
    fill(&other, 3);
    other.leave();
    upload.leave();
    assert_eq!(fs::read_dir(dir.path()).expect("dir").count(), 1);
    assert_eq!(first(&begin(8191, false)), 0, "another length");
    let upload = begin(8192, false);
    fill(&upload, 4);
    upload.commit(false).expect("commit");
    let content = fs::read(dir.path().join("f")).expect("read");
    assert_eq!((content.len(), content[0], content[8191]), (8192, 4, 0));
    assert_eq!(fs::read_dir(dir.path()).expect("dir").count(), 1);
}

#[test]
fn a_name_taken_at_once_is_the_uploads_or_free_again() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (root, file) = (Root::open(dir.path()).expect("root"), dir.path().join("f"));
    let begin = |replace| Upload::begin_with_name(&root, &path("f"), replace, 0o644, Quota::none());
    for replace in [false, true] {
        let mut upload = begin(replace).expect("begin");
        assert_eq!(fs::read(&file).expect("read"), b"");
        drop(upload);
        assert_eq!(fs::read_dir(dir.path()).expect("dir").count(), 0);
        upload = begin(replace).expect("begin");
        upload.write(b"new").expect("write");
        upload.commit(false).expect("commit");
        assert_eq!(fs::read(&file).expect("read"), b"new");
        assert!(replace || begin(replace).is_err());
        fs::remove_file(&file).expect("remove");
    }
    let upload = begin(false).expect("begin");
    fs::write(dir.path().join("theirs"), "theirs").expect("write");
    fs::rename(dir.path().join("theirs"), &file).expect("rename");
    assert_eq!(upload.commit(false), Err(Errno::STALE));
    assert_eq!(fs::read(&file).expect("read"), b"theirs");
    assert_eq!(fs::read_dir(dir.path()).expect("dir").count(), 1);
}

#[test]
fn a_name_taken_meanwhile_is_kept() {
    let dir = tempfile::tempdir().expect("tempdir");
    let root = Root::open(dir.path()).expect("root");
    let upload = Upload::begin(&root, &path("f"), false, 0o644, Quota::none()).expect("begin");
    fs::write(dir.path().join("f"), "theirs").expect("write");
    assert_eq!(upload.commit(false), Err(Errno::EXIST));
    assert_eq!(fs::read(dir.path().join("f")).expect("read"), b"theirs");
    assert_eq!(fs::read_dir(dir.path()).expect("dir").count(), 1);
}
