/* Whom a request by libcurl trusts. */
#include "fetch.h"

bool
fetch_trust(CURL *curl, const char *ca_file)
{
    return !ca_file || (curl_easy_setopt(curl, CURLOPT_CAINFO, ca_file) == CURLE_OK &&
                        curl_easy_setopt(curl, CURLOPT_CAPATH, NULL) == CURLE_OK);
}
