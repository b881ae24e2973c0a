-- A POST with a body and a header.
wrk.method = "POST"
wrk.body = "colour=green&size=3"
wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
