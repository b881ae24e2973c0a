# Workers that share a load (docs/workers.md). `nomad job scale topspin-worker workers 20` adds some,
# also while a load runs.
#
#   nomad var put nomad/jobs/topspin-worker address=postgresql://worker@db.example/topspin password=...
#   nomad job run worker.nomad.hcl
job "topspin-worker" {
  type = "service"

  group "workers" {
    count = 3

    # One on each node: two on one node share its cores.
    constraint {
      operator = "distinct_hosts"
      value    = "true"
    }

    task "worker" {
      driver = "exec"
      user   = "nobody"

      config {
        command = "/usr/bin/topspin"
        args    = ["worker", "--label", "zone=${node.datacenter}", "--allow", "10.0.0.0/8"]
      }

      template {
        destination = "secrets/store.env"
        env         = true
        data        = <<-EOF
          {{ with nomadVar "nomad/jobs/topspin-worker" }}
          TOPSPIN_STORE={{ .address }}
          PGPASSWORD={{ .password }}
          {{ end }}
        EOF
      }

      # It hands over its clients on SIGTERM, and awaits its last replies.
      kill_signal  = "SIGTERM"
      kill_timeout = "30s"

      resources {
        # MHz; reserve a whole core. One that is throttled is late, and its part of the load is invalid.
        cpu    = 2000
        memory = 256
      }
    }
  }
}
