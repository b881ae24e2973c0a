"""Becomes an nginx with one worker, which reads its one file from the disk for each request.

usage: start.py PORT DIRECTORY
"""
import os
import sys

port, directory = sys.argv[1:]
os.makedirs(f"{directory}/html", exist_ok=True)
with open(f"{directory}/html/index.html", "wb") as file:
    file.write(b"x" * 32768)
    os.fsync(file.fileno())
temporary = "".join(f"{name}_temp_path {directory}/{name};\n"
                    for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
with open(f"{directory}/nginx.conf", "w") as file:
    file.write(f"""
worker_processes 1;
daemon off;
user root;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{}}
http {{
  access_log off;
  sendfile off;
  directio 512;  # past the page cache
  output_buffers 2 32k;
  {temporary}
  server {{
    listen 127.0.0.1:{port};
    root {directory}/html;
  }}
}}
""")
os.execvp("nginx", ["nginx", "-e", f"{directory}/error.log", "-p", directory, "-c",
                    f"{directory}/nginx.conf"])
