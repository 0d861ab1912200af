"""The self-service pages in a real browser, with the keyboard alone and without scripts;
and what a hostile client tries."""

import concurrent.futures
import http.client
import re
import time
import urllib.parse

import pytest
from conftest import minute_with
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

GOOD = "tulip grows 4 me"
OTHER = "k7dp-93mt-qxwe"
EVIL = "<script>document.title='owned'</script>\"'&"


def browser_make(tmp_path, scripts=True):
    options = webdriver.ChromeOptions()
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                 "--ignore-certificate-errors", f"--user-data-dir={tmp_path}/chromium",
                 "--window-size=1000,1400"):
        options.add_argument(word)
    if not scripts:
        options.add_experimental_option(
            "prefs", {"profile.managed_default_content_settings.javascript": 2}
        )
    options.binary_location = "/usr/bin/chromium"
    made = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
    made.set_page_load_timeout(60)
    return made


@pytest.fixture(params=["scripts", "no scripts"])
def browser(request, tmp_path):
    made = browser_make(tmp_path, request.param == "scripts")
    made.has_scripts = request.param == "scripts"
    yield made
    made.quit()


@pytest.fixture
def scripted(tmp_path):
    made = browser_make(tmp_path)
    yield made
    made.quit()


def person(house, name, **members):
    house.user(name, **members)
    answer = house.api("PUT", f"/users/{name}/password", {"password": GOOD})
    assert answer.status == 204, answer.body
    return name


def wait_for(browser, text):
    """A page that just gives way to another is stale, or no longer of the document."""

    def shows(b):
        try:
            return text in b.find_element(By.TAG_NAME, "body").text
        except WebDriverException as error:
            if "does not belong to the document" not in str(error):
                raise
            return False

    WebDriverWait(browser, 30, ignored_exceptions=[StaleElementReferenceException]).until(
        shows, f"no '{text}' on {browser.current_url}"
    )


def log_in(browser, house, name, password=GOOD):
    browser.get(house.secure + "/self/")
    browser.find_element(By.ID, "user").send_keys(name)
    browser.find_element(By.ID, "password").send_keys(password)
    browser.find_element(By.CSS_SELECTOR, "button").click()


def check_accessible(browser):
    """One h1, a language, a title, a label for each input, headers of tables."""
    assert browser.find_element(By.TAG_NAME, "html").get_attribute("lang") == "en"
    assert browser.title
    assert len(browser.find_elements(By.TAG_NAME, "h1")) == 1
    assert len(browser.find_elements(By.TAG_NAME, "main")) == 1
    for field in browser.find_elements(By.CSS_SELECTOR, "input:not([type=hidden])"):
        label = browser.find_elements(
            By.CSS_SELECTOR, f"label[for='{field.get_attribute('id')}']"
        )
        assert len(label) == 1 and label[0].text
    for table in browser.find_elements(By.TAG_NAME, "table"):
        assert table.find_elements(By.TAG_NAME, "caption")
        assert table.find_elements(By.CSS_SELECTOR, "th[scope=col]")


def test_log_in_change_password_and_log_out(house, browser):
    name = person(house, "anna" if browser.has_scripts else "anton")
    log_in(browser, house, name, "wrong one 4 me")
    wait_for(browser, "User name or password is wrong.")
    check_accessible(browser)
    log_in(browser, house, f"{name}@example.com")
    wait_for(browser, f"Logged in as {name}")
    check_accessible(browser)
    assert "Login before this one" not in browser.page_source
    browser.find_element(By.LINK_TEXT, "Change the password of this page").click()
    wait_for(browser, "Present password")
    check_accessible(browser)
    for field, text in (("old", GOOD), ("new", "password"), ("again", "password")):
        browser.find_element(By.ID, field).send_keys(text)
    browser.find_element(By.CSS_SELECTOR, "button").click()
    wait_for(browser, "The new password")
    for field, text in (("old", GOOD), ("new", OTHER), ("again", OTHER)):
        browser.find_element(By.ID, field).send_keys(text)
    browser.find_element(By.CSS_SELECTOR, "button").click()
    wait_for(browser, "Your password is set.")
    browser.find_element(By.XPATH, "//button[text()='Log out']").click()
    wait_for(browser, "You are logged out.")
    log_in(browser, house, name, GOOD)
    wait_for(browser, "User name or password is wrong.")
    log_in(browser, house, name, OTHER)
    wait_for(browser, "Login before this one:")
    actions = [entry["action"] for entry in house.audit(actor=f"user:{name}")]
    assert actions.count("self.login") == 2 and "user.password" in actions


def test_the_keyboard_is_enough(house, scripted):
    name = person(house, "kim")
    device = house.good("POST", "/devices", {"owner": name, "kind": "router"})["id"]
    scripted.get(house.secure + "/self/")

    def press(*keys):
        for key in keys:
            scripted.switch_to.active_element.send_keys(key)

    press(Keys.TAB)
    assert scripted.switch_to.active_element.get_attribute("id") == "user"
    press(name, Keys.TAB, GOOD, Keys.ENTER)
    wait_for(scripted, "Logged in as kim")
    for _ in range(20):
        press(Keys.TAB)
        if "Remove" in scripted.switch_to.active_element.text:
            break
    outline = scripted.switch_to.active_element.value_of_css_property("outline-style")
    assert outline == "solid", "the focus cannot be seen"
    press(Keys.ENTER)
    wait_for(scripted, "loses its certificates at once")
    press(Keys.TAB, Keys.ENTER)
    wait_for(scripted, "The device was removed")
    assert house.good("GET", f"/devices/{device}")["state"] == "unenrolled"


def test_an_invitation_and_an_activation_password_in_the_browser(house, browser):
    """The code is taken from the fragment where scripts run, and typed where not."""
    name = "olga" if browser.has_scripts else "otto"
    person(house, name)
    code = "0123456789abcdef" + "A" * 43
    browser.get(house.secure + f"/self/invitation#{code}")
    wait_for(browser, "Set your password")
    check_accessible(browser)
    field = browser.find_element(By.ID, "code")
    if browser.has_scripts:
        WebDriverWait(browser, 30).until(lambda b: field.get_attribute("value") == code)
        assert "#" not in browser.current_url, "the code stays in the history"
    else:
        assert field.get_attribute("value") == ""
        field.send_keys(code)
    for this in ("new", "again"):
        browser.find_element(By.ID, this).send_keys(OTHER)
    browser.find_element(By.CSS_SELECTOR, "button").click()
    wait_for(browser, "This code does not work")
    log_in(browser, house, name)
    wait_for(browser, "You have none that can be used.")
    browser.find_element(By.LINK_TEXT, "Set an activation password of your own").click()
    wait_for(browser, "Activation password again")
    check_accessible(browser)
    for this in ("new", "again"):
        browser.find_element(By.ID, this).send_keys("Lantern-7-river")
    browser.find_element(By.XPATH, "//button[text()='Set activation password']").click()
    wait_for(browser, "Your activation password is set.")
    wait_for(browser, "5 tries left")


def test_own_devices_are_seen_and_removed(house, browser):
    name = person(house, "dora" if browser.has_scripts else "dan")
    device = house.good(
        "POST", "/devices",
        {"owner": name, "kind": "router", "hardware": {"model": "R7 " + EVIL}},
    )["id"]  # fmt: skip
    log_in(browser, house, name)
    wait_for(browser, "Your devices")
    row = browser.find_element(By.XPATH, f"//tr[td[text()='{device}']]")
    assert EVIL in row.text, "shown as it is"
    assert browser.title != "owned"
    row.find_element(By.TAG_NAME, "a").click()
    wait_for(browser, "This cannot be undone.")
    check_accessible(browser)
    browser.find_element(By.XPATH, "//button[text()='Remove this device']").click()
    wait_for(browser, "The device was removed")
    assert device not in browser.page_source
    assert house.good("GET", f"/devices/{device}")["state"] == "unenrolled"
    assert house.audit(object=f"device:{device}", action="device.unenrol")


# ---- Hostile ----


class Client:
    """A client that keeps what it wants of cookies and headers."""

    def __init__(self, house):
        self.house, self.cookies = house, {}

    def ask(self, method, path, fields=None, headers=None, cookies=None):
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.house.https, context=self.house.tls_context(), timeout=60
        )
        jar = self.cookies if cookies is None else cookies
        all_headers = {}
        if jar:
            all_headers["Cookie"] = "; ".join(f"{k}={v}" for k, v in jar.items())
        body = None
        if fields is not None:
            body = urllib.parse.urlencode(fields)
            all_headers["Content-Type"] = "application/x-www-form-urlencoded"
        all_headers.update(headers or {})
        connection.request(method, path, body, all_headers)
        answer = connection.getresponse()
        answer.text = answer.read().decode()
        for line in answer.headers.get_all("Set-Cookie") or []:
            name, value = line.split(";")[0].split("=", 1)
            self.cookies[name] = value
            if not value:
                del self.cookies[name]
        connection.close()
        return answer

    def token(self, path):
        return re.search(r'name="token" value="([^"]+)"', self.ask("GET", path).text)[1]

    def log_in(self, name, password=GOOD):
        token = self.token("/self/login")
        fields = {"token": token, "user": name, "password": password}
        return self.ask("POST", "/self/login", fields)


SESSION = "__Host-sealwright"


def test_W3_headers_and_cookies_keep_the_rules(house):
    client = Client(house)
    answer = client.ask("GET", "/self/login")
    policy = answer.headers["Content-Security-Policy"]
    assert "unsafe" not in policy and "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy and "form-action 'self'" in policy
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    person(house, "carl")
    answer = client.log_in("carl")
    assert answer.status == 303, answer.text
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    lines = answer.headers.get_all("Set-Cookie")
    assert any(line.startswith(SESSION + "=") for line in lines)
    for line in lines:
        for rule in ("Secure", "HttpOnly", "SameSite=Strict", "Path=/"):
            assert rule in line
        assert "Domain" not in line
    # Nothing of it over plain HTTP, and no secret in the log.
    plain = house.get("/self/login")
    assert plain.status in (403, 404) and "Strict-Transport-Security" not in plain.headers
    log = (house.data / "sealwright.log").read_text()
    assert GOOD not in log and client.cookies[SESSION] not in log


def test_W3_forms_of_other_sites_do_nothing(house):
    client = Client(house)
    person(house, "eve")
    device = house.good("POST", "/devices", {"owner": "eve", "kind": "router"})["id"]
    assert client.log_in("eve").status == 303
    token = client.token(f"/self/device?id={device}")
    other = Client(house)
    person(house, "mallory")
    assert other.log_in("mallory").status == 303
    foreign = other.token("/self/password")
    for fields, headers in (
        ({"id": device}, {}),
        ({"id": device, "token": ""}, {}),
        ({"id": device, "token": foreign}, {}),
        ({"id": device, "token": token[:-1]}, {}),
        ({"id": device, "token": token}, {"Sec-Fetch-Site": "cross-site"}),
        ({"id": device, "token": token}, {"Sec-Fetch-Site": "same-site"}),
    ):
        answer = client.ask("POST", "/self/device", fields, headers)
        assert answer.status == 403, (fields, headers, answer.status)
    # GET changes nothing, and another's device is none.
    assert client.ask("GET", f"/self/device?id={device}&token={token}").status == 200
    mine = other.ask("POST", "/self/device", {"id": device, "token": foreign})
    assert mine.status == 404
    assert other.ask("GET", f"/self/device?id={device}").status == 404
    assert house.good("GET", f"/devices/{device}")["state"] != "unenrolled"
    # The login form itself, too.
    fields = {"user": "eve", "password": GOOD, "token": "x" * 43}
    assert Client(house).ask("POST", "/self/login", fields).status == 403
    good = client.ask("POST", "/self/device", {"id": device, "token": token})
    assert good.status == 303


def test_W3_a_planted_session_is_not_taken(house):
    person(house, "fred")
    client = Client(house)
    planted = "A" * 43
    client.cookies[SESSION] = planted
    assert client.log_in("fred").status == 303
    assert client.cookies[SESSION] != planted
    session = client.cookies[SESSION]
    assert client.ask("GET", "/self/", cookies={SESSION: planted}).status == 303
    assert client.ask("GET", "/self/").status == 200
    # Twice the cookie is none; logging in again gives another; out ends it for good.
    twice = {"Cookie": f"{SESSION}={planted}; {SESSION}={session}"}
    assert client.ask("GET", "/self/", headers=twice, cookies={}).status == 303
    token = client.token("/self/password")
    assert client.ask("POST", "/self/logout", {"token": token}).status == 303
    assert client.ask("GET", "/self/", cookies={SESSION: session}).status == 303


def test_A5_another_log_in_of_the_browser_ends_the_session_before(house):
    """Anybody's: who logs in at a shared browser does not keep the former one's open."""
    person(house, "rhea")
    person(house, "silas")
    client, elsewhere = Client(house), Client(house)
    page = client.ask("GET", "/self/login")  # kept open in another tab
    token = re.search(r'name="token" value="([^"]+)"', page.text)[1]
    form = client.cookies["__Host-sealwright-form"]
    assert client.log_in("rhea").status == elsewhere.log_in("rhea").status == 303
    former = client.cookies[SESSION]
    # A log-in that fails ends nothing.
    cookies = {SESSION: former, "__Host-sealwright-form": form}
    fields = {"token": token, "user": "silas", "password": "wrong"}
    assert client.ask("POST", "/self/login", fields, cookies=cookies).status == 403
    assert client.ask("GET", "/self/", cookies={SESSION: former}).status == 200
    fields["password"] = GOOD
    assert client.ask("POST", "/self/login", fields, cookies=cookies).status == 303
    assert client.cookies[SESSION] != former
    assert client.ask("GET", "/self/", cookies={SESSION: former}).status == 303
    assert "silas" in client.ask("GET", "/self/").text
    assert elsewhere.ask("GET", "/self/").status == 200, "another browser's stays"


def test_A5_a_disabled_user_and_a_new_password_end_sessions(house):
    person(house, "gina")
    client = Client(house)
    assert client.log_in("gina").status == 303
    assert client.ask("GET", "/self/").status == 200
    answer = house.api("PUT", "/users/gina/password", {"password": OTHER})
    assert answer.status == 204
    assert client.ask("GET", "/self/").status == 303
    assert client.log_in("gina", OTHER).status == 303
    assert client.ask("GET", "/self/").status == 200
    house.cli("user", "disable", "gina")
    assert client.ask("GET", "/self/").status == 303
    answer = client.log_in("gina", OTHER)
    assert answer.status == 403 and "User name or password is wrong." in answer.text


def test_A5_a_session_does_not_come_back_with_its_user(house):
    """Neither when he is active again, nor for a later user of the name."""
    person(house, "gus")
    client = Client(house)
    assert client.log_in("gus").status == 303
    for state in ("disabled", "active"):
        user = house.good("GET", "/users/gus")
        house.good("PATCH", "/users/gus", {"state": state},
                   headers={"If-Match": f'"{user["version"]}"'})  # fmt: skip
    assert client.ask("GET", "/self/").status == 303
    assert client.log_in("gus").status == 303
    assert client.ask("GET", "/self/").status == 200


def test_a_later_user_of_the_name_is_not_told_of_the_former_one(house):
    person(house, "ian")
    client = Client(house)
    assert [client.log_in("ian").status, Client(house).log_in("ian").status] == [303, 303]
    again = Client(house)
    assert again.log_in("ian").status == 303
    assert "Login before this one:" in again.ask("GET", "/self/").text
    user = house.good("GET", "/users/ian")
    house.good("DELETE", "/users/ian", headers={"If-Match": f'"{user["version"]}"'})
    time.sleep(1.1)  # people are told apart by the second they came
    person(house, "ian")
    assert client.ask("GET", "/self/").status == 303
    assert client.log_in("ian").status == 303
    assert "Login before this one:" not in client.ask("GET", "/self/").text


def test_a_later_user_of_the_name_has_none_of_the_former_ones_devices(house):
    person(house, "jill")
    device = house.good("POST", "/devices", {"owner": "jill", "kind": "router"})["id"]
    house.good("PATCH", f"/devices/{device}", {"state": "disabled"})
    client = Client(house)
    assert client.log_in("jill").status == 303 and device in client.ask("GET", "/self/").text
    user = house.good("GET", "/users/jill")
    house.good("DELETE", "/users/jill", headers={"If-Match": f'"{user["version"]}"'})
    assert house.good("GET", f"/devices/{device}")["owner"] is None
    person(house, "jill")
    client = Client(house)
    assert client.log_in("jill").status == 303
    assert device not in client.ask("GET", "/self/").text
    assert client.ask("GET", f"/self/device?id={device}").status == 404
    # It is still somebody's to have: an administrator decides whose.
    house.good("PATCH", f"/devices/{device}", {"owner": "jill", "state": "active"})
    assert device in client.ask("GET", "/self/").text


def test_devices_that_were_removed_hide_none(house):
    """An account of many devices: all that are left can be removed, and it says so."""
    name = person(house, "hal")
    client = Client(house)
    assert client.log_in(name).status == 303
    token = client.token("/self/password")
    for _ in range(2):
        made = [house.good("POST", "/devices", {"owner": name, "kind": "router"})["id"]
                for _ in range(51)]  # fmt: skip
        text = client.ask("GET", "/self/").text
        assert all(device in text for device in made), "hidden by those that are no more"
        assert "there may be others" not in text
        for device in made:
            answer = client.ask("POST", "/self/device", {"id": device, "token": token})
            assert answer.status == 303
    assert "You have no device." in client.ask("GET", "/self/").text
    for _ in range(101):
        house.good("POST", "/devices", {"owner": name, "kind": "router"})
    assert "there may be others" in client.ask("GET", "/self/").text


def test_A0_guesses_are_throttled_and_lock(house):
    person(house, "hugo")
    client = Client(house)
    minute_with(45)
    seen = {client.log_in("hugo", f"guess {i} for it").status for i in range(12)}
    assert seen == {403, 429}
    # Locked: the right one does not help, and the answers do not tell.
    assert client.log_in("hugo").status in (403, 429)
    assert Client(house).log_in("nobody at all").status in (403, 429)


def test_R7_names_do_not_become_pages(house):
    person(house, "ida", display_name="Ida <b>B</b>")
    client = Client(house)
    token = client.token("/self/login")
    fields = {"token": token, "user": EVIL, "password": "wrong password"}
    text = client.ask("POST", "/self/login", fields).text
    assert "<script>document" not in text
    assert "&lt;script&gt;" in text and "&#34;&#39;&amp;" in text
    answer = client.ask("GET", "/self/login?done=<script>alert(1)</script>")
    assert "alert(1)" not in answer.text


def test_A5_of_two_password_changes_at_once_one_counts(house):
    """Who has the old password and is quick keeps neither the account nor a session."""
    person(house, "jane")
    clients = [Client(house) for _ in range(4)]
    assert [client.log_in("jane").status for client in clients] == [303] * 4
    tokens = [client.token("/self/password") for client in clients]

    def change(number):
        new = f"another {number} for me"
        return clients[number].ask("POST", "/self/password", {
            "token": tokens[number], "old": GOOD, "new": new, "again": new}).status  # fmt: skip

    with concurrent.futures.ThreadPoolExecutor(len(clients)) as pool:
        answers = list(pool.map(change, range(len(clients))))
    assert answers.count(303) == 1, answers
    (winner,) = [number for number, answer in enumerate(answers) if answer == 303]
    inside = [number for number, client in enumerate(clients) if client.ask("GET", "/self/").status == 200]
    assert inside == [winner]
    assert Client(house).log_in("jane", f"another {winner} for me").status == 303
