/* The mails there are, with the program's own words for each. */
#include "letter.h"

#define PERSON                                                                         \
    { "user.name", LETTER_PLAIN, "alice", "Login name." },                             \
        { "user.display_name", LETTER_PLAIN, "Alice Example",                          \
          "What people call the user; the login name when there is nothing else." },   \
        { "user.email", LETTER_PLAIN, "alice@example.com", "Mail address." },          \
        { "server.name", LETTER_PLAIN, "ca.example.com", "The server's name." },       \
    {                                                                                  \
        "organisation.name", LETTER_PLAIN, "Example Corp", "The organisation's name."  \
    }

#define ACTIVATION_TIME                                                                \
    { "activation.expires", LETTER_PLAIN, "2026-11-28 10:00 UTC",                      \
      "When the activation password ends." },                                          \
    {                                                                                  \
        "activation.url", LETTER_PLAIN, "https://ca.example.com",                      \
            "What to type as the server's address."                                    \
    }

#define SAMPLE_PASSWORD "k7dp-93mt-qxwe"
#define SAMPLE_BASE "https://ca.example.com/activate#v=1&user=alice%40example.com"

static const struct letter_variable activation_variables[] = {
    PERSON,
    ACTIVATION_TIME,
    { "activation.password", LETTER_SECRET, SAMPLE_PASSWORD,
      "The activation password." },
    { "activation.link", LETTER_SECRET, SAMPLE_BASE "&password=" SAMPLE_PASSWORD,
      "Opens the client; has the password in it." },
    { "activation.qr", LETTER_PICTURE, "", "The link as a picture to scan." },
    { NULL, LETTER_PLAIN, NULL, NULL },
};

static const struct letter_variable instructions_variables[] = {
    PERSON,
    ACTIVATION_TIME,
    { "activation.link", LETTER_PLAIN, SAMPLE_BASE,
      "Opens the client, which asks for the password." },
    { "activation.qr", LETTER_PICTURE, "", "The link as a picture to scan." },
    { NULL, LETTER_PLAIN, NULL, NULL },
};

static const struct letter_variable password_variables[] = {
    PERSON,
    ACTIVATION_TIME,
    { "activation.password", LETTER_SECRET, SAMPLE_PASSWORD,
      "The activation password." },
    { NULL, LETTER_PLAIN, NULL, NULL },
};

static const struct letter_variable device_variables[] = {
    PERSON,
    { "device.id", LETTER_PLAIN, "3f0d2c1e-7a55-4c0b-9f1e-0f8f1c9a2b7d",
      "Id of the device." },
    { "device.kind", LETTER_PLAIN, "windows", "What kind of device it is." },
    { "event.time", LETTER_PLAIN, "2026-11-26 10:00 UTC", "When it was." },
    { "event.source", LETTER_PLAIN, "192.0.2.7", "The network address it came from." },
    { NULL, LETTER_PLAIN, NULL, NULL },
};

static const struct letter_variable login_variables[] = {
    PERSON,
    { "event.time", LETTER_PLAIN, "2026-11-26 10:00 UTC", "When it was." },
    { "event.source", LETTER_PLAIN, "192.0.2.7", "The network address it came from." },
    { NULL, LETTER_PLAIN, NULL, NULL },
};

static const struct letter_variable invitation_variables[] = {
    PERSON,
    { "invitation.link", LETTER_SECRET,
      "https://ca.example.com/self/invitation#0123456789abcdef",
      "Opens the page that sets the password; has the code in it." },
    { "invitation.url", LETTER_PLAIN, "https://ca.example.com/self/invitation",
      "The same page without the code." },
    { "invitation.code", LETTER_SECRET, "0123456789abcdef", "The code alone." },
    { "invitation.expires", LETTER_PLAIN, "2026-11-28 10:00 UTC",
      "When the code ends." },
    { NULL, LETTER_PLAIN, NULL, NULL },
};

static const struct letter_variable test_variables[] = {
    { "server.name", LETTER_PLAIN, "ca.example.com", "The server's name." },
    { "organisation.name", LETTER_PLAIN, "Example Corp", "The organisation's name." },
    { "event.time", LETTER_PLAIN, "2026-11-26 10:00 UTC", "When it was." },
    { NULL, LETTER_PLAIN, NULL, NULL },
};

static const char *const wants_password[] = { "activation.password", "activation.link",
                                              NULL };
static const char *const wants_password_alone[] = { "activation.password", NULL };
static const char *const wants_url[] = { "activation.url", "activation.link", NULL };
static const char *const wants_code[] = { "invitation.link", "invitation.code", NULL };

#define HTML(title, body)                                                              \
    "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">"              \
    "<title>" title "</title></head>\n"                                                \
    "<body style=\"font-family:sans-serif;line-height:1.4\">\n" body "</body>\n"       \
    "</html>\n"
#define HELLO "<p>Hello {{user.display_name}},</p>\n"
#define BYE "<p>{{organisation.name}}</p>\n"
#define PASSWORD_HTML                                                                  \
    "<p>Activation password: <strong style=\"font-family:monospace;font-size:1.3em\">" \
    "{{activation.password}}</strong></p>\n"
#define CLIENT_HTML "<p>User name: {{user.name}}<br>\nServer: {{activation.url}}</p>\n"

const struct letter_kind letter_kinds[] = {
    { .name = "activation",
      .about = "Activation password and instructions, in one mail.",
      .subject = "Activate your device for {{organisation.name}}",
      .text = "Hello {{user.display_name}},\n\n"
              "with the activation password below you can set up one device for "
              "{{organisation.name}}.\n\n"
              "Server:              {{activation.url}}\n"
              "User name:           {{user.name}}\n"
              "Activation password: {{activation.password}}\n"
              "Valid until:         {{activation.expires}}\n\n"
              "Or open this link with the client on the device:\n\n"
              "{{activation.link}}\n\n"
              "Do not pass this mail on: whoever has the password can set up a device "
              "in your name.\n\n"
              "{{organisation.name}}\n",
      .html = HTML("Activate your device", HELLO
                   "<p>with the activation password below you can set up one "
                   "device for {{organisation.name}}.</p>\n" CLIENT_HTML PASSWORD_HTML
                   "<p>Valid until {{activation.expires}}.</p>\n"
                   "<p><a href=\"{{activation.link}}\">Open this link with the "
                   "client on the device</a>, or scan the picture:</p>\n"
                   "<p>{{activation.qr}}</p>\n"
                   "<p>Do not pass this mail on: whoever has the password can set "
                   "up a device in your name.</p>\n" BYE),
      .variables = activation_variables,
      .wants = wants_password },
    { .name = "activation_instructions",
      .about =
          "Instructions without the password, where that goes by a mail of its own.",
      .subject = "How to activate your device for {{organisation.name}}",
      .text = "Hello {{user.display_name}},\n\n"
              "you can set up one device for {{organisation.name}} until "
              "{{activation.expires}}. The activation password follows in another "
              "mail.\n\n"
              "Server:    {{activation.url}}\n"
              "User name: {{user.name}}\n\n"
              "Or open this link with the client on the device; it asks for the "
              "password:\n\n"
              "{{activation.link}}\n\n"
              "{{organisation.name}}\n",
      .html = HTML("Activate your device",
                   HELLO "<p>you can set up one device for {{organisation.name}} until "
                         "{{activation.expires}}. The activation password follows in "
                         "another mail.</p>\n" CLIENT_HTML
                         "<p><a href=\"{{activation.link}}\">Open this link with the "
                         "client on the device</a>, or scan the picture; it asks for "
                         "the password:</p>\n<p>{{activation.qr}}</p>\n" BYE),
      .variables = instructions_variables,
      .wants = wants_url },
    { .name = "activation_password",
      .about = "The activation password alone, where the instructions go by a mail of "
               "their own.",
      .subject = "Your activation password",
      .text = "Hello {{user.display_name}},\n\n"
              "activation password: {{activation.password}}\n"
              "Valid until:         {{activation.expires}}\n\n"
              "How to use it is in another mail. Do not pass this one on.\n\n"
              "{{organisation.name}}\n",
      .html = HTML("Your activation password", HELLO PASSWORD_HTML
                   "<p>Valid until {{activation.expires}}. How to "
                   "use it is in another mail. Do not pass this one "
                   "on.</p>\n" BYE),
      .variables = password_variables,
      .wants = wants_password_alone },
    { .name = "device_activated",
      .about = "A device was activated, or a PC enrolled, in the user's name.",
      .subject = "A device was activated in your name",
      .text = "Hello {{user.display_name}},\n\n"
              "a device was activated in your name at {{organisation.name}}.\n\n"
              "Device: {{device.id}} {{device.kind}}\n"
              "Time:   {{event.time}}\n"
              "From:   {{event.source}}\n\n"
              "If that was not you, tell your administrator at once, or remove the "
              "device on the self-service page.\n\n"
              "{{organisation.name}}\n",
      .html = HTML("A device was activated",
                   HELLO "<p>a device was activated in your name at "
                         "{{organisation.name}}.</p>\n"
                         "<p>Device: {{device.id}} {{device.kind}}<br>\n"
                         "Time: {{event.time}}<br>\nFrom: {{event.source}}</p>\n"
                         "<p>If that was not you, tell your administrator at once, or "
                         "remove the device on the self-service page.</p>\n" BYE),
      .variables = device_variables },
    { .name = "invitation",
      .about = "A link by which the user sets the password for the self-service page.",
      .subject = "Set your password for {{organisation.name}}",
      .text =
          "Hello {{user.display_name}},\n\n"
          "set your password for the self-service page of {{organisation.name}} "
          "here:\n\n"
          "{{invitation.link}}\n\n"
          "If the page asks for a code, copy this one into it:\n\n"
          "{{invitation.code}}\n\n"
          "Link and code work once, until {{invitation.expires}}. Your user name is "
          "{{user.name}}.\n\n"
          "{{organisation.name}}\n",
      .html = HTML("Set your password",
                   HELLO "<p>set your password for the self-service page of "
                         "{{organisation.name}}: <a href=\"{{invitation.link}}\">open "
                         "the page</a>.</p>\n"
                         "<p>If the page asks for a code, copy this one into it:</p>\n"
                         "<p style=\"font-family:monospace\">{{invitation.code}}</p>\n"
                         "<p>Link and code work once, until {{invitation.expires}}. "
                         "Your user name is {{user.name}}.</p>\n" BYE),
      .variables = invitation_variables,
      .wants = wants_code },
    { .name = "login",
      .about = "Somebody logged in to the self-service page as the user.",
      .subject = "Login to your self-service page",
      .text =
          "Hello {{user.display_name}},\n\n"
          "somebody logged in to your self-service page of {{organisation.name}}.\n\n"
          "Time: {{event.time}}\n"
          "From: {{event.source}}\n\n"
          "If that was not you, tell your administrator at once.\n\n"
          "{{organisation.name}}\n",
      .html = HTML("Login",
                   HELLO "<p>somebody logged in to your self-service page of "
                         "{{organisation.name}}.</p>\n"
                         "<p>Time: {{event.time}}<br>\nFrom: {{event.source}}</p>\n"
                         "<p>If that was not you, tell your administrator at "
                         "once.</p>\n" BYE),
      .variables = login_variables },
    { .name = "test",
      .about = "What `sealwright mail test` sends.",
      .subject = "Test mail of {{organisation.name}}",
      .text = "This mail was sent by {{server.name}} at {{event.time}} to see whether "
              "mails get out.\n",
      .html = NULL,
      .variables = test_variables },
    { .name = NULL },
};
