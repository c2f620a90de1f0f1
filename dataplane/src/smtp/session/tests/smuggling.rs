use super::stage::Double;

const HEAD: &[u8] = b"HELO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n";
const SMUGGLED: &[u8] = b"MAIL FROM:<evil@b>\r\nRCPT TO:<c@example.com>\r\nDATA\r\nevil\r\n.\r\nQUIT\r\n";

/// What a session makes of the bytes, cut at every place after the head and into bytes: always the same.
async fn everywhere(double: &Double, body: &[u8]) -> (String, Vec<String>) {
    let whole = [HEAD, body].concat();
    let told = double.answers(&[&whole]).await;
    let messages = double.messages();
    let single: Vec<&[u8]> = whole.chunks(1).collect();
    assert_eq!(double.answers(&single).await, told, "{body:?}");
    assert_eq!(double.messages(), messages);
    for cut in 0..body.len() {
        let (before, after) = whole.split_at(HEAD.len() + cut);
        assert_eq!(double.answers(&[before, after]).await, told, "{body:?} at {cut}");
        assert_eq!(double.messages(), messages);
    }
    (told, messages)
}

#[tokio::test(start_paused = true)]
async fn nothing_but_its_end_ends_a_message() {
    let double = Double::default();
    let ends: [&[u8]; 15] = [
        b"\n.\n",
        b"\n.\r\n",
        b"\r.\r",
        b"\r\n.\n",
        b"\r\n.\r",
        b"\r.\r\n",
        b"\n.\r",
        b"\r.\n",
        b"\r\n\0.\r\n",
        b"\r\n.\0\r\n",
        b"\r\n.\r\0\n",
        b"\0",
        b"\r\r\n.\r\n",
        b"\r\n.\r\r\n",
        b"\n\r\n.\r\n",
    ];
    for end in ends {
        let body = [b"text", end, SMUGGLED].concat();
        let (told, messages) = everywhere(&double, &body).await;
        let last = told.lines().last();
        assert_eq!(
            last,
            Some("554 5.6.0 The message holds a NUL, or a bare <CR> or <LF>"),
            "{end:?}"
        );
        assert!(messages.is_empty(), "{end:?}");
        assert!(!double.asked().contains(&"admit c@example.com".to_owned()), "{end:?}");
    }
    // That a message which ends would be seen to: here what follows is the client's own.
    let body = [b"text\r\n.\r\n", SMUGGLED].concat();
    let (told, messages) = everywhere(&double, &body).await;
    assert_eq!(messages, ["text\r\n", "evil\r\n"]);
    assert_eq!(told.lines().last(), Some("221 2.0.0 Bye"));
}

#[tokio::test(start_paused = true)]
async fn commands_end_as_they_should() {
    let double = Double::default();
    let commands: [(&[u8], &str); 6] = [
        (
            b"NOOP\nNOOP\r\n",
            "500 5.5.2 Lines end with <CR><LF>, and have neither of them elsewhere",
        ),
        (
            b"NOOP\rNOOP\r\n",
            "500 5.5.2 Lines end with <CR><LF>, and have neither of them elsewhere",
        ),
        (
            b"NOOP\r\r\n",
            "500 5.5.2 Lines end with <CR><LF>, and have neither of them elsewhere",
        ),
        (b"NO\0OP\r\n", "500 5.5.2 A line holds a NUL"),
        (b"GET / HTTP/1.1\r\nNOOP\r\n", "500 5.7.0 This is a mail server"),
        (b"BDAT 6\r\nNOOP\r\n", "502 5.5.1 BDAT is not offered"),
    ];
    for (bytes, last) in commands {
        for cut in 0..bytes.len() {
            let (before, after) = bytes.split_at(cut);
            let told = double.answers(&[before, after]).await;
            assert_eq!(
                told,
                format!("220 mx.example ESMTP Vulcan\r\n{last}\r\n"),
                "{bytes:?} at {cut}"
            );
        }
    }
    let greeting = "220 mx.example ESMTP Vulcan\r\n";
    let told = double.answers(&[b"NOOP ", &[b'x'; 2_043], b"\r\nQUIT\r\n"]).await;
    assert_eq!(told, format!("{greeting}250 2.0.0 Ok\r\n221 2.0.0 Bye\r\n"));
    let too_long = format!("{greeting}500 5.5.2 Line too long\r\n");
    assert_eq!(
        double.answers(&[b"NOOP ", &[b'x'; 2_044], b"\r\nQUIT\r\n"]).await,
        too_long
    );
    assert_eq!(double.answers(&[b"AUTH PLAIN ", &[b'x'; 12_278]]).await, too_long);
    assert_eq!(double.answers(&[&[b'x'; 100_000]]).await, too_long);
}
