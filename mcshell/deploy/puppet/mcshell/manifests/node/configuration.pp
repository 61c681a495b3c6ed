# Configuration, policies and agents: what is to come, a look at it, and then what is in force.
#
# @api private
class mcshell::node::configuration {
  $etc = $mcshell::node::etc
  $coming = "${etc}/coming"
  $pki = "${etc}/pki/"
  $passcode = $mcshell::node::passcode
  $crl = !$mcshell::node::certificate or 'crl' in $mcshell::node::certificate
  $sources = { 'policies' => $mcshell::node::policies, 'agents' => $mcshell::node::agents }.filter |$_, $source| { $source }

  $own = {
    'broker' => $passcode ? { undef => {}, default => { 'passcode_file' => "${etc}/broker.pass" } },
    'pki'    => {
      'ca'        => "${pki}ca.pem",
      'cert'      => "${pki}${mcshell::node::identity}.pem",
      'key'       => "${pki}${mcshell::node::identity}.key",
      'crl'       => $crl ? { true => "${pki}crl.pem", default => undef },
      'enrolment' => $mcshell::node::enrol_broker.then |$url| { [$url] },
    },
    'node'   => {
      'policies' => $sources['policies'] ? { undef => undef, default => 'policies' },
      'agents'   => $sources['agents'] ? { undef => undef, default => ['agents'] },
    },
  }
  $settings = $mcshell::node::settings
  $tables = $own.reduce({}) |$all, $one| { $all + { $one[0] => $one[1] + $settings.get($one[0], {}) } }
  $text = epp('mcshell/node.toml.epp', { 'settings' => { 'state' => $mcshell::node::lib } + $settings + $tables })

  if $passcode {
    file { "${etc}/broker.pass":
      content   => Sensitive("${passcode.unwrap}\n"),
      mode      => '0600',
      backup    => false,
      show_diff => false,
      notify    => Exec['mcshell: restart'],
    }
  }
  file { $coming:
    ensure => directory,
    mode   => '0700',
  }
  [$coming, $etc].each |$folder| {
    $last = $folder == $etc
    file { "${folder}/node.toml":
      content   => $text,
      mode      => '0600',  # somebody may have put secrets there
      show_diff => $last and $mcshell::node::show_diff,
      notify    => $last ? { true => Exec['mcshell: restart'], default => undef },
    }
    $sources.each |$name, $source| {
      file { "${folder}/${name}":
        ensure    => directory,
        source    => $source,
        recurse   => true,
        purge     => true,
        force     => true,
        ignore    => ['__pycache__', '.*'],
        mode      => $name ? { 'agents' => '0755', default => '0644' },
        show_diff => $last and $mcshell::node::show_diff,
        notify    => $last ? { true => Exec['mcshell: reload'], default => undef },
      }
    }
  }
  # A dry run has brought nothing that could be looked at.
  if String($facts['clientnoop']) != 'true' {
    $look = [$mcshell::node::command, 'node', '--config', "${coming}/node.toml", '--check']
    exec { 'mcshell: nothing is wrong with what is to come':
      command => $look,
      unless  => [$look],
      require => [
        File["${coming}/node.toml"],
        File[$sources.keys.map |$name| { "${coming}/${name}" }],
      ],
      before  => [File["${etc}/node.toml"], File[$sources.keys.map |$name| { "${etc}/${name}" }]],
    }
    if $passcode {
      File["${etc}/broker.pass"] -> Exec['mcshell: nothing is wrong with what is to come']
    }
  }
}
