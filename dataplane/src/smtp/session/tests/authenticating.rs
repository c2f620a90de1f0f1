use super::stage::{Double, trusted};
use crate::smtp::session::Client;

const BEGINNING: &str = "
    S: 220 mx.example ESMTP Vulcan
    C: EHLO client
    S: 250-mx.example
    S: 250-PIPELINING
    S: 250-8BITMIME
    S: 250-SMTPUTF8
    S: 250-ENHANCEDSTATUSCODES
    S: 250-DSN
    S: 250-SIZE 1000
    S: 250-AUTH PLAIN LOGIN
    S: 250 XCLIENT NAME ADDR PORT PROTO HELO";

async fn plays(double: &Double, script: &str) {
    double.plays_with(trusted(), &format!("{BEGINNING}\n{script}")).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_authenticates_and_is_asked_again_at_each_mail() {
    let double = Double::default();
    let script = "
        C: MAIL FROM:<a@b>
        S: 250 2.1.0 Ok
        C: RCPT TO:<b@guarded.example>
        S: 530 5.7.0 AUTH first
        C: RSET
        S: 250 2.0.0 Ok
        C: AUTH PLAIN AHVzZXIAcGFzcw==
        S: 235 2.7.0 Authentication successful
        C: AUTH PLAIN AHVzZXIAcGFzcw==
        S: 503 5.5.1 You have authenticated already
        C: EHLO again
        S: 250-mx.example
        S: 250-PIPELINING
        S: 250-8BITMIME
        S: 250-SMTPUTF8
        S: 250-ENHANCEDSTATUSCODES
        S: 250-DSN
        S: 250-SIZE 1000
        S: 250-AUTH PLAIN LOGIN
        S: 250 XCLIENT NAME ADDR PORT PROTO HELO
        C: MAIL FROM:<a@b>
        S: 250 2.1.0 Ok
        C: RCPT TO:<b@guarded.example>
        S: 250 2.1.5 Ok
        C: RSET
        S: 250 2.0.0 Ok";
    plays(&double, script).await;
    let asked = [
        "admit b@guarded.example",
        "authenticate user",
        "authenticate user",
        "admit b@guarded.example",
    ];
    assert_eq!(double.asked(), asked);
    for dialogue in [
        "C: AUTH LOGIN\n S: 334 VXNlcm5hbWU6\n C: dXNlcg==\n S: 334 UGFzc3dvcmQ6\n C: cGFzcw==",
        "C: AUTH LOGIN dXNlcg==\n S: 334 UGFzc3dvcmQ6\n C: cGFzcw==",
        "C: AUTH PLAIN\n S: 334 \n C: AHVzZXIAcGFzcw==",
    ] {
        plays(&double, &format!("{dialogue}\n S: 235 2.7.0 Authentication successful")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_revoked_is_refused_at_the_next_mail() {
    let double = Double::default();
    let script = "
        C: AUTH PLAIN AHVzZXIAcGFzcw==
        S: 235 2.7.0 Authentication successful";
    plays(&double, script).await;
    double.is_revoked.set(true);
    let script = "
        C: AUTH PLAIN AHVzZXIAcGFzcw==
        S: 535 5.7.8 Wrong
        C: MAIL FROM:<a@b>
        S: 250 2.1.0 Ok";
    plays(&double, script).await;
    // Within one session: the change comes between two commands.
    double.is_revoked.set(false);
    let (near, far) = tokio::io::duplex(1 << 16);
    let patience = crate::smtp::session::Patience::default();
    let session = crate::smtp::serve::converse(far, trusted(), &double, &patience, false);
    let client = async {
        let mut near = near;
        super::stage::play(
            &mut near,
            &format!("{BEGINNING}\n C: AUTH PLAIN AHVzZXIAcGFzcw==\n S: 235 2.7.0 Authentication successful"),
        )
        .await;
        double.is_revoked.set(true);
        let script = "
            C: MAIL FROM:<a@b>
            S: 535 5.7.8 Wrong
            C: MAIL FROM:<a@b>
            S: 250 2.1.0 Ok
            C: RCPT TO:<b@guarded.example>
            S: 530 5.7.0 AUTH first";
        super::stage::play(near, script).await;
    };
    tokio::join!(session, client);
}

#[tokio::test(start_paused = true)]
async fn who_guesses_waits_and_is_sent_away() {
    let double = Double::default();
    let begun = tokio::time::Instant::now();
    let script = "
        C: AUTH PLAIN AHVzZXIAd3Jvbmc=
        S: 535 5.7.8 Wrong
        C: AUTH PLAIN b3RoZXIAdXNlcgBwYXNz
        S: 535 5.7.8 The identity to act as must be your own
        C: AUTH LOGIN
        S: 334 VXNlcm5hbWU6
        C: dXNlcg==
        S: 334 UGFzc3dvcmQ6
        C: d3Jvbmc=
        S: 535 5.7.8 Wrong
        S: 421 4.7.0 Too many failures to authenticate
        E";
    plays(&double, script).await;
    // 1, 2 and 4 seconds, by a clock that nobody else moves.
    assert_eq!(begun.elapsed().as_secs(), 7);
    assert_eq!(double.asked().len(), 2, "who acts as somebody else is not asked for");
    // Many sessions later the account is let be for a while, as far as this server asks for it.
    for _ in 2..30 {
        plays(&double, "C: AUTH PLAIN AHVzZXIAd3Jvbmc=\n S: 535 5.7.8 Wrong").await;
    }
    double.asked();
    let elsewhere = Client {
        address: [198, 51, 100, 7].into(),
        ..trusted()
    };
    let script = format!("{BEGINNING}\n C: AUTH PLAIN AHVzZXIAcGFzcw==\n S: 235 2.7.0 Authentication successful");
    double.plays_with(elsewhere, &script).await;
    assert_eq!(double.asked(), ["authenticate user"], "it is not locked out");
    let script = "
        C: AUTH PLAIN AHVzZXIAcGFzcw==
        S: 454 4.7.0 Too many failures to authenticate, try again later
        W: 60
        C: AUTH PLAIN AHVzZXIAcGFzcw==
        S: 235 2.7.0 Authentication successful";
    plays(&double, script).await;
    assert_eq!(double.asked(), ["authenticate user"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_attempt_is_no_failure() {
    let double = Double::default();
    let script = "
        C: AUTH PLAIN
        S: 334
        C: *
        S: 501 5.7.0 Authentication cancelled
        C: AUTH PLAIN !!!
        S: 501 5.5.2 The answer cannot be decoded
        C: AUTH CRAM-MD5
        S: 504 5.5.4 The mechanisms are PLAIN and LOGIN
        C: AUTH PLAIN AGF3YXkAcGFzcw==
        S: 454 4.7.0 Away
        C: MAIL FROM:<a@b>
        S: 250 2.1.0 Ok
        C: AUTH PLAIN AHVzZXIAcGFzcw==
        S: 503 5.5.1 A transaction is under way
        C: RSET
        S: 250 2.0.0 Ok
        C: AUTH PLAIN AHVzZXIAcGFzcw==
        S: 235 2.7.0 Authentication successful";
    plays(&double, &script.replace("S: 334\n", "S: 334 \n")).await;
    assert_eq!(double.asked(), ["authenticate away", "authenticate user"]);
}

#[tokio::test(start_paused = true)]
async fn no_password_is_taken_where_it_can_be_read() {
    let double = Double::default();
    let script = "
        S: 220 mx.example ESMTP Vulcan
        C: EHLO client
        S: 250-mx.example
        S: 250-PIPELINING
        S: 250-8BITMIME
        S: 250-SMTPUTF8
        S: 250-ENHANCEDSTATUSCODES
        S: 250-DSN
        S: 250 SIZE 1000
        C: AUTH PLAIN AHVzZXIAcGFzcw==
        S: 502 5.5.1 AUTH is not offered
        C: AUTH LOGIN
        S: 502 5.5.1 AUTH is not offered
        C: STARTTLS
        S: 502 5.5.1 TLS is not offered";
    double.plays(script).await;
    let nobody = Double {
        offers_auth: false,
        ..Double::default()
    };
    let script = "
        S: 220 mx.example ESMTP Vulcan
        C: AUTH PLAIN AHVzZXIAcGFzcw==
        S: 502 5.5.1 AUTH is not offered";
    nobody.plays_with(trusted(), script).await;
    assert!(double.asked().is_empty() && nobody.asked().is_empty());
}
