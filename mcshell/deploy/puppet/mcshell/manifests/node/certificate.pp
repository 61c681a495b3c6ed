# The certificate: from files, or for a key that is made here.
#
# @api private
class mcshell::node::certificate {
  $who = $mcshell::node::identity
  $pki = "${mcshell::node::etc}/pki"
  $files = $mcshell::node::certificate

  if $files {
    file {
      default:
        mode   => '0644',
        notify => Exec['mcshell: restart'];
      "${pki}/ca.pem":
        source => $files['ca'];
      "${pki}/${who}.pem":
        source => $files['cert'];
      "${pki}/${who}.key":
        source    => $files['key'],
        mode      => '0600',
        backup    => false,
        show_diff => false;
    }
    if $files['crl'] {
      file { "${pki}/crl.pem":
        source => $files['crl'],
        mode   => '0644',
        notify => Exec['mcshell: reload'],
      }
    }
  } else {
    contain mcshell::node::enrolment
  }
}
