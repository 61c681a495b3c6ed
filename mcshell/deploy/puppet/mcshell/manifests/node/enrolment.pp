# A certificate for a key that is made on this machine, over the broker or by files that are carried.
#
# The token goes from the environment to standard input: it is in no file, and in no list of processes.
#
# @api private
class mcshell::node::enrolment {
  $machine = $mcshell::node::identity
  $pki = "${mcshell::node::etc}/pki"
  $token = $mcshell::node::token
  $answer = $mcshell::node::answer
  if !$token and !$mcshell::node::ca_fingerprint {
    fail('mcshell::node: certificate, token or ca_fingerprint says where the certificate is from')
  }
  $collective = assert_type(Pattern[/\A[a-z0-9_-]+\z/], $mcshell::node::settings.get('collective.main', 'mcs'))
  $who = $token ? { undef => "--ca ${mcshell::node::ca_fingerprint}", default => '--token-file -' }
  $enroll = "printf %s \"\$ENROLMENT_TOKEN\" | ${mcshell::node::command} node enroll ${machine} --out ${pki} ${who}"

  # A certificate that has ended is none.
  $certified = "${mcshell::node::command} node enroll ${machine} --out ${pki} --check"

  Exec {
    provider    => shell,
    environment => $token ? { undef => [], default => ["ENROLMENT_TOKEN=${token.unwrap}"] },
    path        => $mcshell::node::path,
  }
  if $mcshell::node::enrol_broker {
    exec { 'mcshell: enrol':
      command => "${enroll} --broker '${mcshell::node::enrol_broker}' --collective ${collective}",
      unless  => $certified,
      notify  => Exec['mcshell: restart'],
    }
  } else {
    exec { "mcshell: ask for a certificate (${pki}/${machine}.request is for mcshell pki receive)":
      command => $enroll,
      unless  => "test -e ${pki}/${machine}.request || ${certified}",
    }
    if $answer {
      file { "${pki}/${machine}.answer":
        source  => $answer,
        mode    => '0600',
        require => Exec["mcshell: ask for a certificate (${pki}/${machine}.request is for mcshell pki receive)"],
      }
      -> exec { 'mcshell: take the answer':
        command => "${enroll} --answer ${pki}/${machine}.answer",
        unless  => $certified,
        notify  => Exec['mcshell: restart'],
      }
    }
  }
}
