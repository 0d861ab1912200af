"""Log-in at an OpenID provider, for the self-service page and for Windows: by a real provider
that plays by the rules, and by one that plays every trick."""

import concurrent.futures
import hashlib
import hmac
import html
import http.client
import json
import re
import time
import urllib.parse
import urllib.request

import jwt
import pytest
from conftest import free_ports, house_end, house_make, minute_with
from cryptography.hazmat.primitives.asymmetric import rsa
from oidc_provider import Provider, b64
from selenium.webdriver.common.by import By
from test_self_service import browser_make, wait_for
from windows import APPRU, Computer

DEVICE = "6F1D0A9C3B7E4E1FA2D45C8B90E3F7BB"
SELF, WINDOWS = "/self/", "/enrollments/windows/"


class Browser:
    """Cookies of one host, and no redirect that is not asked for."""

    def __init__(self, house):
        self.house, self.cookies = house, {}

    def get(self, url):
        url = urllib.parse.urljoin(self.house.secure, url)
        path = url[len(self.house.secure):]
        assert url.startswith(self.house.secure + "/"), url
        connection = http.client.HTTPSConnection(
            "localhost" if "localhost" in self.house.secure else "127.0.0.1", self.house.https,
            context=self.house.tls_context(), timeout=60)  # fmt: skip
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection.request("GET", path, headers={"Cookie": cookies} if cookies else {})
        answer = connection.getresponse()
        answer.text = answer.read().decode()
        connection.close()
        for line in answer.headers.get_all("Set-Cookie") or []:
            name, _, rest = line.partition("=")
            value, _, rules = rest.partition(";")
            assert name.startswith("__Host-") and "Secure" in rules and "HttpOnly" in rules and "Path=/" in rules
            assert "Domain" not in rules
            if "Max-Age=0" in rules:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value
        return answer

    def begin(self, place=SELF):
        query = "" if place == SELF else "?" + urllib.parse.urlencode({"appru": APPRU})
        answer = self.get(place + "oidc-login" + query)
        assert answer.status == 303, (answer.status, answer.text)
        return answer.headers["Location"]

    @staticmethod
    def at_provider(url):
        class Stay(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, *words):
                return None

        try:
            urllib.request.build_opener(Stay).open(url, timeout=20)
        except urllib.error.HTTPError as error:
            assert error.code == 302, error.code
            return error.headers["Location"]
        raise AssertionError("no redirect")

    def log_in(self, place=SELF):
        """The whole way; the answer of the way back."""
        back = self.at_provider(self.begin(place))
        self.back = back
        return self.get(back)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    house = house_make(tmp_path_factory)
    provider = Provider(free_ports(1)[0]).open()
    secret = house.data / "oidc.secret"
    secret.write_text(Provider.SECRET + "\n")
    secret.chmod(0o600)
    house.change_config(
        plugins=[{"name": name} for name in ("scep", "discovery", "xcep", "wstep")],
        oidc={"issuer": provider.issuer, "client_id": Provider.CLIENT, "secret_source": "file:oidc.secret",
              "name": "Example & Co", "timeout_ms": 9000},
    )  # fmt: skip
    house.start()
    for name in ("alice", "bob", "carol"):
        house.user(name)
    profile = house.good("GET", "/profiles/certificate/default")
    house.good("PATCH", "/profiles/certificate/default",
               {"settings": {**profile["settings"], "protocols": ["scep", "wstep"]}},
               headers={"If-Match": f'"{profile["version"]}"'})  # fmt: skip
    yield house, provider
    house_end(house)
    provider.close()


@pytest.fixture
def fresh(world):
    """Both as they were, and no throttle of an earlier test in the way."""
    house, provider = world
    provider.reset()
    if provider.server is None:
        provider.open()
    house.restart()
    return house, provider


def is_logged_in(browser, name="alice"):
    page = browser.get("/self/")
    return page.status == 200 and f"<strong>{name}</strong>" in page.text


def assert_refused(browser, answer, status=403):
    assert answer.status == status, (answer.status, answer.text)
    assert "__Host-sealwright" not in browser.cookies
    assert not is_logged_in(browser)
    assert "Back to the login" in answer.text and "Traceback" not in answer.text


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_a_user_of_the_provider_gets_a_session(fresh, algorithm):
    house, provider = fresh
    provider.algorithm = algorithm
    browser = Browser(house)
    page = browser.get("/self/login")
    assert '<a href="oidc-login">Log in with Example &amp; Co</a>' in page.text
    answer = browser.log_in()
    assert answer.status == 200 and 'content="0;url=./"' in answer.text, answer.text
    assert set(browser.cookies) == {"__Host-sealwright"}, "the log-in's own is gone"
    assert is_logged_in(browser)
    again = browser.get("/self/oidc-login")
    assert (again.status, again.headers["Location"]) == (303, "./"), "is logged in already"
    assert [entry["actor"] for entry in house.audit(action="self.login")][:1] == ["user:alice"]
    # What the browser brought is of no use to the log.
    code = urllib.parse.parse_qs(urllib.parse.urlsplit(browser.back).query)["code"][0]
    assert code not in house.words() and Provider.SECRET not in house.words()


def test_a_pc_enrols_by_the_provider(fresh, tmp_path):
    house, provider = fresh
    pc = Computer(house, tmp_path / "pc", DEVICE, "alice", "no password at all")
    assert pc.discover()["AuthPolicy"] == "Federated"
    browser = Browser(house)
    page = browser.get(WINDOWS + "login-agent?" + urllib.parse.urlencode({"appru": APPRU}))
    link = html.unescape(re.search(r'<a href="([^"]*)">Log in with Example &amp; Co</a>', page.text).group(1))
    assert link.startswith(house.secure + WINDOWS + "oidc-login?appru=")
    there = browser.get(link)
    assert there.status == 303 and "SameSite=None" in there.headers["Set-Cookie"]
    answer = browser.get(browser.at_provider(there.headers["Location"]))
    assert answer.status == 200 and f'action="{APPRU}"' in answer.text, answer.text
    assert "form-action ms-app:" in answer.headers["Content-Security-Policy"]
    token = html.unescape(re.search('name="wresult" value="([^"]*)"', answer.text).group(1))
    assert browser.cookies == {}
    security = pc.by_token(token)
    pc.policies(security)
    pc.enrol(security)
    assert house.good("GET", f"/devices/{pc.device}")["owner"] == "alice"


def test_A2_an_answer_counts_once_and_in_its_own_browser(fresh):
    house, provider = fresh
    browser, other = Browser(house), Browser(house)
    back = browser.at_provider(browser.begin())
    assert_refused(other, other.get(back))  # no cookie
    other.begin()
    assert_refused(other, other.get(back))  # another log-in's
    mixed = Browser(house)  # of the other page
    mixed.begin(WINDOWS)
    assert_refused(mixed, mixed.get(back))
    kept = dict(browser.cookies)
    assert browser.get(back).status == 200 and is_logged_in(browser)
    again = Browser(house)
    again.cookies = kept
    exchanged = len(provider.exchanged)
    assert_refused(again, again.get(back))
    assert len(provider.exchanged) == exchanged, "not even asked"


def test_A2_a_state_that_was_altered_is_none(fresh):
    house, provider = fresh
    for change in ({"state": "A" * 43}, {"state": ""}, {"state": None}):
        browser = Browser(house)
        provider.redirect = change
        assert_refused(browser, browser.log_in())
    assert provider.exchanged == []


def none_token(provider, claims):
    return jwt.encode(claims, None, algorithm="none")


def hmac_token(provider, claims):
    """The public key as the secret of an HMAC."""
    head = b64(json.dumps({"alg": "HS256", "kid": "rsa-1"}).encode()) + "." + b64(json.dumps(claims).encode())
    return head + "." + b64(hmac.new(provider.public_pem(), head.encode(), hashlib.sha256).digest())


def stranger_token(provider, claims):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return jwt.encode(claims, key, algorithm="RS256", headers={"kid": "rsa-1"})


def altered_token(provider, claims):
    head, body, signature = provider.sign(claims).split(".")
    return f"{head}.{body[:-4]}AAAA.{signature}"


@pytest.mark.parametrize("claims", [
    {"nonce": "another"}, {"nonce": None}, {"aud": "another"}, {"aud": ["sealwright", "another"]},
    {"azp": "another"}, {"iss": "http://127.0.0.1:1"}, {"exp": 1}, {"exp": None}, {"iat": 1}, {"iat": None},
    {"iat": 2**40, "exp": 2**41}, {"sub": None}, {"preferred_username": None}, {"preferred_username": "nobody"},
    {"preferred_username": "EVIL\\alice"}, {"preferred_username": ["alice"]},
], ids=str)  # fmt: skip
def test_A3_a_token_that_says_something_else_is_none(world, claims):
    house, provider = world
    provider.reset()
    provider.claims = claims
    browser = Browser(house)
    if test_A3_a_token_that_says_something_else_is_none.count % 8 == 0:
        house.restart()  # wrong answers are throttled by source
    test_A3_a_token_that_says_something_else_is_none.count += 1
    assert_refused(browser, browser.log_in())


test_A3_a_token_that_says_something_else_is_none.count = 0


def test_A3_only_a_verified_address_is_somebodys(fresh):
    house, provider = fresh
    # A name that people choose at the provider is no mail address.
    provider.claims = {"preferred_username": "alice@example.com", "email": "alice@example.com", "email_verified": True}
    assert_refused(Browser(house), Browser(house).log_in())
    house.change_config(oidc={"claim": "email"})
    house.restart()
    try:
        for verified in (None, False, "true", 1):
            provider.claims = {"email": "alice@example.com", "email_verified": verified}
            browser = Browser(house)
            assert_refused(browser, browser.log_in())
        # A name is no mailbox, not even one that looks like one.
        house.user("erin@example.com", email="somebody.else@example.com")
        for mail in ("alice", "erin@example.com"):
            provider.claims = {"email": mail, "email_verified": True}
            browser = Browser(house)
            assert_refused(browser, browser.log_in())
        provider.claims = {"email": "Alice@Example.com", "email_verified": True}
        browser = Browser(house)
        assert browser.log_in().status == 200 and is_logged_in(browser)
    finally:
        house.change_config(oidc={"claim": "preferred_username"})


@pytest.mark.parametrize("make", [none_token, hmac_token, stranger_token, altered_token, lambda p, c: "a.b",
                                  lambda p, c: None], ids=["none", "hmac", "stranger", "altered", "form", "absent"])
def test_A3_a_token_that_the_provider_did_not_sign_is_none(fresh, make):
    house, provider = fresh
    provider.token = lambda claims: make(provider, claims)
    browser = Browser(house)
    assert_refused(browser, browser.log_in())
    provider.reset()
    assert browser.log_in().status == 200


def test_a_new_key_is_fetched_once_and_unknown_ones_are_not_asked_for_all_the_time(fresh):
    house, provider = fresh
    browser = Browser(house)
    provider.fetched = 0
    assert browser.log_in().status == 200
    assert provider.fetched == 1
    # Minutes later in the daemon's eyes nothing has passed: unknown keys cost no look.
    for _ in range(3):
        other = Browser(house)
        provider.token = lambda claims: provider.sign(claims, kid="unknown")
        assert_refused(other, other.log_in())
    assert provider.fetched == 1


@pytest.mark.long
def test_a_key_that_is_new_is_found_a_minute_later(fresh):
    house, provider = fresh
    browser = Browser(house)
    provider.fetched = 0
    assert browser.log_in().status == 200
    provider.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    provider.kids["RS256"] = "rsa-2"
    assert_refused(Browser(house), Browser(house).log_in())
    time.sleep(61)
    assert browser.log_in().status == 200
    assert provider.fetched == 2


@pytest.mark.parametrize("scripts", [True, False])
def test_a_real_browser_ends_at_the_overview(fresh, tmp_path, scripts):
    """Its session's cookie is Strict, which a redirect from the provider would not bring."""
    house, provider = fresh
    browser = browser_make(tmp_path, scripts)
    try:
        browser.get(house.secure + "/self/")
        browser.find_element(By.LINK_TEXT, "Log in with Example & Co").click()
        wait_for(browser, "Logged in as alice")
        assert browser.current_url == house.secure + "/self/"
        browser.get(house.secure + "/self/")
        wait_for(browser, "Logged in as alice")
    finally:
        browser.quit()


def test_mixed_up_providers_are_told_apart(fresh):
    house, provider = fresh
    for iss in ("http://127.0.0.1:1", None):  # another's, and none where one is promised
        provider.iss = iss
        browser = Browser(house)
        assert_refused(browser, browser.log_in())
    assert provider.exchanged == []


def test_metadata_of_another_issuer_is_not_used(fresh):
    house, provider = fresh
    provider.metadata = {"issuer": "https://evil.example.com"}
    answer = Browser(house).get("/self/oidc-login")
    assert answer.status == 503 and "does not answer now" in answer.text
    provider.metadata = {"token_endpoint": "http://evil.example.com/token"}
    house.restart()
    assert Browser(house).get("/self/oidc-login").status == 503


def test_a_provider_that_refuses_is_a_login_that_did_not_work(fresh):
    house, provider = fresh
    provider.redirect = {"error": "access_denied", "code": None}
    browser = Browser(house)
    assert_refused(browser, browser.log_in())
    provider.redirect = {"code": "made up"}
    assert_refused(browser, browser.log_in())
    provider.redirect = {"code": None}
    assert_refused(browser, browser.log_in())


def test_a_provider_that_is_down_gets_a_clear_page(fresh):
    house, provider = fresh
    browser = Browser(house)
    back = browser.at_provider(browser.begin())
    provider.close()
    start = time.monotonic()
    answer = browser.get(back)
    assert_refused(browser, answer, 503)
    assert "does not answer now" in answer.text and answer.headers["Retry-After"]
    house.restart()
    answer = Browser(house).get("/self/oidc-login")
    assert answer.status == 503 and "does not answer now" in answer.text
    answer = Browser(house).get(WINDOWS + "oidc-login?" + urllib.parse.urlencode({"appru": APPRU}))
    assert answer.status == 503 and "ms-app" not in answer.text
    assert time.monotonic() - start < 60
    # Passwords go on working meanwhile, and the daemon is well.
    assert house.get("/health/live").status == 200
    provider.open()
    time.sleep(5.5)
    assert Browser(house).log_in().status == 200


def test_a_silent_provider_holds_one_thread_for_what_it_says_of_itself(fresh):
    house, provider = fresh
    provider.slow = {"/.well-known/openid-configuration": 4}
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        first = pool.submit(lambda: Browser(house).get("/self/oidc-login").status)
        time.sleep(0.7)
        start = time.monotonic()
        for _ in range(3):
            assert Browser(house).get("/self/oidc-login").status == 503
        assert time.monotonic() - start < 3, "they waited"
        assert first.result() == 303
    assert Browser(house).log_in().status == 200


def test_a_silent_provider_holds_few_threads_for_codes(fresh):
    house, provider = fresh
    browsers = [Browser(house) for _ in range(7)]
    backs = [browser.at_provider(browser.begin()) for browser in browsers]
    provider.slow = {"/token": 4, "/keys": 1}  # all four wait for the keys as well

    def come_back(browser, back):
        start = time.monotonic()
        return browser.get(back).status, time.monotonic() - start

    with concurrent.futures.ThreadPoolExecutor(len(browsers)) as pool:
        answers = list(pool.map(come_back, browsers, backs))
    assert sorted(status for status, _ in answers) == [200] * 4 + [503] * 3, answers
    assert all(seconds < 3 for status, seconds in answers if status == 503), answers
    provider.slow = {}
    assert Browser(house).log_in().status == 200


def test_a_token_endpoint_that_fails_is_no_refusal(fresh):
    house, provider = fresh
    provider.status = {"/token": 500}
    browser = Browser(house)
    assert_refused(browser, browser.log_in(), 503)
    provider.status = {}
    provider.auth_methods = ["client_secret_post"]
    house.restart()
    assert browser.log_in().status == 200
    assert "client_secret" in provider.exchanged[-1]


def test_A5_a_disabled_user_gets_nothing(fresh):
    house, provider = fresh
    user = house.good("GET", "/users/bob")
    house.good("PATCH", "/users/bob", {"state": "disabled"}, headers={"If-Match": f'"{user["version"]}"'})
    provider.user = "bob"
    browser = Browser(house)
    assert_refused(browser, browser.log_in())
    answer = browser.log_in(WINDOWS)
    assert answer.status == 403 and "wresult" not in answer.text
    provider.user = "carol"
    assert browser.log_in(WINDOWS).status == 200


def test_A7_wrong_answers_are_throttled(fresh):
    house, provider = fresh
    provider.claims = {"nonce": "another"}
    statuses = []
    minute_with(45)
    for _ in range(34):
        statuses.append(Browser(house).log_in().status)
    assert statuses.count(403) >= 25 and statuses[-1] == 429


def test_A7_a_made_up_answer_costs_nothing(fresh):
    """Whoever makes cookie and state himself is not let near the provider or the store."""
    house, provider = fresh
    for sent in (int(time.time()), 0):
        browser = Browser(house)
        cookie = "A" * 43 + f".{sent:012}." + "A" * 43 + "."
        browser.cookies["__Host-sealwright-provider"] = cookie
        state = b64(hashlib.sha256(b"state:" + cookie.encode()).digest())
        query = urllib.parse.urlencode({"state": state, "code": "x", "iss": provider.issuer})
        assert browser.get("/self/oidc?" + query).status == 403
    assert provider.exchanged == []
    # One of ours that was altered: another time, another page.
    browser = Browser(house)
    browser.begin()
    name, cookie = browser.cookies.popitem()
    secret, sent, mac, context = cookie.split(".")
    for other in (f"{secret}.{int(sent) + 1:012}.{mac}.{context}", f"{secret}.{sent}.{mac}.a{context}"):
        browser.cookies[name] = other
        state = b64(hashlib.sha256(b"state:" + other.encode()).digest())
        query = urllib.parse.urlencode({"state": state, "code": "x", "iss": provider.issuer})
        assert browser.get("/self/oidc?" + query).status == 403
    assert provider.exchanged == []


def test_A7_answers_that_the_provider_fails_at_are_throttled(fresh):
    house, provider = fresh
    provider.status = {"/token": 500}
    minute_with(45)
    statuses = [Browser(house).log_in().status for _ in range(34)]
    assert statuses.count(503) >= 25 and statuses[-1] == 429, statuses


def test_W2_only_clients_of_windows_are_sent_there_and_back(fresh):
    house, provider = fresh
    for appru in ("https://evil.example.com/", "ms-app://", "ms-app://a\"><script>", "javascript:1"):
        answer = Browser(house).get(WINDOWS + "oidc-login?" + urllib.parse.urlencode({"appru": appru}))
        assert answer.status == 400 and "Location" not in answer.headers
    # A cookie that was altered changes the state with it.
    browser = Browser(house)
    back = browser.at_provider(browser.begin(WINDOWS))
    (name,) = browser.cookies
    browser.cookies[name] = browser.cookies[name].replace("ms-app://", "ms-app://evil.")
    answer = browser.get(back)
    assert answer.status == 403 and "wresult" not in answer.text


def test_check_reads_the_secret(world):
    house, _ = world
    done = house.cli("check", check=False)
    assert done.returncode == 0 and b"oidc" in done.stdout
    (house.data / "oidc.secret").chmod(0o644)
    done = house.cli("check", check=False)
    assert done.returncode == 1 and b"oidc.secret" in done.stdout
    (house.data / "oidc.secret").chmod(0o600)


def test_without_a_provider_there_is_no_link(world, tmp_path_factory):
    house = house_make(tmp_path_factory)
    try:
        house.start()
        browser = Browser(house)
        assert "oidc" not in browser.get("/self/login").text
        assert browser.get("/self/oidc-login").status == 404
        assert browser.get("/self/oidc").status == 403
    finally:
        house_end(house)
