use super::*;

/// What was read of the message, and what of the input is left.
type Read = (Progress, Vec<u8>, Vec<u8>);

fn read<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Read {
    let mut scanner = Scanner::default();
    let (mut message, mut rest, mut last) = (Vec::new(), Vec::new(), Progress::More);
    for part in parts {
        if last != Progress::More {
            rest.extend_from_slice(part);
            continue;
        }
        let (count, progress) = scanner.scan(part, &mut message);
        rest.extend_from_slice(&part[count..]);
        last = progress;
    }
    (last, message, rest)
}

/// However the input is cut into two or three parts, or into bytes.
fn everywhere(input: &[u8]) -> Read {
    let whole = read([input]);
    for cut in 0..=input.len() {
        let (before, after) = input.split_at(cut);
        assert_eq!(read([before, after]), whole, "{input:?} at {cut}");
        for second in 0..=after.len() {
            let (middle, last) = after.split_at(second);
            assert_eq!(read([before, middle, last]), whole, "{input:?} at {cut} and {second}");
        }
    }
    assert_eq!(read(input.chunks(1)), whole, "{input:?}");
    whole
}

#[test]
fn dots_go_where_they_were_added() {
    let table: &[(&[u8], &[u8])] = &[
        (b".\r\n", b""),
        (b"\r\n.\r\n", b"\r\n"),
        (b"a\r\n.\r\n", b"a\r\n"),
        (b"..\r\n.\r\n", b".\r\n"),
        (b"...\r\n.\r\n", b"..\r\n"),
        (b"..a\r\n.b\r\n c.\r\n.\r\n", b".a\r\nb\r\n c.\r\n"),
        (b"a\r\n\r\n..\r\n\r\n.\r\n", b"a\r\n\r\n.\r\n\r\n"),
        (b"\xff\x80\t\x01\r\n.\r\n", b"\xff\x80\t\x01\r\n"),
    ];
    for (input, message) in table {
        let expected = (Progress::End, message.to_vec(), Vec::new());
        assert_eq!(everywhere(input), expected, "{input:?}");
        let piped = [*input, b"MAIL FROM:<>\r\n"].concat();
        let (progress, content, rest) = everywhere(&piped);
        assert_eq!((progress, content), (Progress::End, message.to_vec()));
        assert_eq!(rest, b"MAIL FROM:<>\r\n");
    }
}

/// All ends but the one that is, between two texts of which the second would be a smuggled command.
#[test]
fn nothing_else_ends_a_message() {
    let marks: [&[u8]; 5] = [b"\r\n", b"\n", b"\r", b"\0", b"\r\0\n"];
    let mut tried = 0;
    for before in marks {
        for after in marks {
            for dots in [b".".as_slice(), b"", b"\0.", b".\0"] {
                if (before, dots, after) == (b"\r\n", b".", b"\r\n") {
                    continue;
                }
                let input = [b"text", before, dots, after, b"MAIL FROM:<x@y>\r\n", b"more\r\n"].concat();
                let (progress, message, _) = everywhere(&input);
                // `\r` and `\n` side by side are the end of a line.
                let between = [before, dots, after].concat();
                let is_text = [b"\r\n".as_slice(), b"\r\n\r\n"].contains(&between.as_slice());
                match is_text {
                    true => assert_eq!(progress, Progress::More, "{input:?}"),
                    false => assert_eq!(progress, Progress::Malformed, "{input:?}"),
                }
                assert!(is_text || !message.windows(4).any(|word| word == b"MAIL"), "{input:?}");
                tried += 1;
            }
        }
    }
    assert_eq!(tried, 99);
    // That the table would see an end where there is one.
    let (progress, ..) = everywhere(b"text\r\n.\r\nMAIL FROM:<x@y>\r\n");
    assert_eq!(progress, Progress::End);
}

#[test]
fn after_its_end_a_message_takes_nothing() {
    let mut scanner = Scanner::default();
    let mut message = Vec::new();
    assert_eq!(scanner.scan(b".\r\n", &mut message), (3, Progress::End));
    assert_eq!(scanner.scan(b"x", &mut message), (0, Progress::End));
    assert!(message.is_empty());
}
